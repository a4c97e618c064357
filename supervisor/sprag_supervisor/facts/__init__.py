"""What is remembered and told: crashes, exits, rulings, reports. Without live objects of a tree."""
