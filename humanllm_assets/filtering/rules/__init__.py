"""The rules of each source, `RULES` of the module of its name, and what the rules of several sources share."""
