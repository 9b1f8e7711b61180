"""What a storefront was told that an order would come to, and until when an order may rely on it."""
