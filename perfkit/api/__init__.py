"""What `import perfkit` offers beside the commands: reports that show themselves, in a notebook and at a prompt."""
