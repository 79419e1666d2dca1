# mailmove's other half in PowerShell: one JSON value a line in, one JSON value a line out.
#
#   {"id": 1, "connect": {"token": "…", "organization": "contoso.onmicrosoft.com"}}
#   {"id": 2, "cmdlet": "New-MigrationEndpoint", "parameters": {…}, "credentials": {"Credentials": {"user": "…", "password": "…"}}}
#
#   {"ready": {"protocol": 1, "powershell": "7.4.6", "module": "3.9.0"}}
#   {"id": 2, "objects": […], "warnings": ["…"]}
#   {"id": 2, "error": {"id": "…", "class": "…", "category": "…", "message": "…"}}
#
# Values travel as data and are splatted; no text from outside is ever run as code. Secrets come through standard input
# only, and live no longer than the call that needs them. The script ends when its input ends.

# No strict mode here: pwsh -File runs this in the global scope, and the module's own code would have to bear it too.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$InformationPreference = 'SilentlyContinue'
[Console]::InputEncoding = [System.Text.UTF8Encoding]::new($false)
[Console]::OutputEncoding = [System.Text.UTF8Encoding]::new($false)

function Write-Answer {
    param([hashtable] $Answer)
    [Console]::Out.WriteLine((ConvertTo-Json -InputObject $Answer -Depth 6 -Compress -EnumsAsStrings))
    [Console]::Out.Flush()
}

function Get-Failure {
    param([System.Management.Automation.ErrorRecord] $Record)
    @{
        id       = [string] $Record.FullyQualifiedErrorId
        class    = [string] $Record.Exception.GetType().FullName
        category = [string] $Record.CategoryInfo.Category
        message  = [string] $Record.Exception.Message
    }
}

function Connect-Tenant {
    param([hashtable] $Given)
    Disconnect-ExchangeOnline -Confirm:$false -ErrorAction SilentlyContinue | Out-Null
    Connect-ExchangeOnline -AccessToken $Given['token'] -Organization $Given['organization'] `
        -ShowBanner:$false -SkipLoadingFormatData -CommandName $Given['cmdlets'] | Out-Null
}

function Invoke-Call {
    param([hashtable] $Request)
    $parameters = @{}
    if ($Request.ContainsKey('parameters')) {
        foreach ($name in $Request['parameters'].Keys) { $parameters[$name] = $Request['parameters'][$name] }
    }
    if ($Request.ContainsKey('credentials')) {
        foreach ($name in $Request['credentials'].Keys) {
            $given = $Request['credentials'][$name]
            $secure = ConvertTo-SecureString -String $given['password'] -AsPlainText -Force
            $parameters[$name] = [System.Management.Automation.PSCredential]::new($given['user'], $secure)
        }
    }
    $command = Get-Command -Name $Request['cmdlet'] -CommandType Function, Cmdlet -ErrorAction Stop
    $warned = @()
    $found = @(& $command @parameters -ErrorAction Stop -WarningAction SilentlyContinue -WarningVariable warned)
    @{
        id       = $Request['id']
        objects  = @($found | Where-Object { $null -ne $_ })
        warnings = @($warned | ForEach-Object { [string] $_ })
    }
}

try {
    Import-Module -Name ExchangeOnlineManagement -ErrorAction Stop
    $module = Get-Module -Name ExchangeOnlineManagement
    Write-Answer @{ ready = @{
            protocol   = 1
            powershell = [string] $PSVersionTable.PSVersion
            module     = [string] $module.Version
        }
    }
}
catch {
    Write-Answer @{ ready = @{ protocol = 1; error = (Get-Failure -Record $_) } }
    exit 1
}

try {
    while ($null -ne ($line = [Console]::In.ReadLine())) {
        $request = $null
        try {
            $request = ConvertFrom-Json -InputObject $line -AsHashtable -Depth 12
            if ($request.ContainsKey('connect')) {
                Connect-Tenant -Given $request['connect']
                Write-Answer @{ id = $request['id']; objects = @(); warnings = @() }
            }
            else {
                Write-Answer (Invoke-Call -Request $request)
            }
        }
        catch {
            $id = if ($null -ne $request) { $request['id'] } else { 0 }
            Write-Answer @{ id = $id; error = (Get-Failure -Record $_) }
        }
        finally {
            $line = $null
            $request = $null
        }
    }
}
finally {
    Disconnect-ExchangeOnline -Confirm:$false -ErrorAction SilentlyContinue | Out-Null
}
