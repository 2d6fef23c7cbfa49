"""The networks, in torch. Nothing outside this folder and the torch backend imports torch."""
