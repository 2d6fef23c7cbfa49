"""The systems of the recipes beside each other: trained here, measured in one run."""
