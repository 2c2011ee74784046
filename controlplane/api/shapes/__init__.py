"""Response bodies of the admin API, beside the resources themselves. OpenAPI is generated from them."""
