"""Classifiers that tell a blended face's boundary from an untouched one.

These two work on numbers (:func:`rings.features`); ring_network.py looks at the strips themselves. Each takes training
rows and their labels, and test rows, and returns a score for each of the latter, higher for blended.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def linear(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logistic regression on standardized numbers."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(train, labels).decision_function(test)


def boosted(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Gradient boosting of small trees."""
    trees = HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=15, l2_regularization=1.0,
        max_features=0.3, random_state=0,
    )  # fmt: skip
    return trees.fit(train, labels).decision_function(test)
