"""mailmove: moves an organisation's mail from on-premises Exchange to Microsoft 365."""
