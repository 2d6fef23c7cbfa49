"""Learning to tell classes of chips apart: cut out of labelled satellite images, compared by
embeddings (the recipe ``satellite_triplet``)."""
