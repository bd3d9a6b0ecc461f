"""A method's file as tests write it."""

PLAIN = {
    "title": "Plain",
    "learner": "baselines.ncm:NCM",
    "description": "A method.",
    "group": "prompt",
    "hyperparameters": {"lr": 0.1, "epochs": 5},
    "datasets": {"digits": {"lr": 0.2}, "isic": {"epochs": 9}},
    "sources": {"all": "Chosen here."},
}
