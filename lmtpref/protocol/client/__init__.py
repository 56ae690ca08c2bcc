"""The client's half of LMTP: mail in, commands out; replies in, outcomes out."""
