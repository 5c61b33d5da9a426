"""What labctl keeps on disk: the state folder of labs, run folders, histories."""
