"""What only the demo model needs: phrases, footage and targets of the rendered scenes."""
