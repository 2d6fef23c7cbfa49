"""Self-contained HTML reports, with plots and pictures inside."""
