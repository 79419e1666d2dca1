"""What mailmove is made of besides itself: licences, hashes, known weaknesses."""
