"""Programs with one performance fault each, and what runs, records and builds them: see docs/scoreboard.md."""
