"""Regression on real data: how far diabetes progresses within a year, from ten measurements of each of 442 patients.

The data come with scikit-learn (B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals
of Statistics 32, 2004). Each patient is predicted once, by models that were trained without that fifth of the patients.
What so few patients can teach is nearly linear: scikit-learn's linear models are hard to beat, and are printed beside.
"""

import sys

import numpy as np

from layerkit import Sequential
from layerkit.callbacks import EarlyStopping
from layerkit.layers import Dense, Dropout
from layerkit.optimizers import Adam

try:
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold
except ImportError:
    sys.exit('This example needs scikit-learn. Install it with: python -m pip install ".[examples]"')


def predict_linear(x_train, y_train, x_test):
    """Return the predictions of a network without a hidden layer, which can learn what least squares finds."""
    model = Sequential([Dense(1)], seed=0, dtype="float64")
    model.compile(Adam(learning_rate=0.05), loss="mse")
    model.fit(x_train, y_train, batch_size=len(x_train), epochs=1000, verbose=0)
    return model.predict(x_test, verbose=0)[:, 0]


def predict_network(x_train, y_train, x_test):
    """Return the predictions of a network with a hidden layer, stopped when a held out fifth gets no better."""
    model = Sequential([Dense(32, activation="relu"), Dropout(0.2), Dense(1)], seed=0)
    model.compile(Adam(learning_rate=0.003, weight_decay=0.01), loss="mse")
    stop = EarlyStopping(patience=20, restore_best_weights=True)
    model.fit(x_train, y_train, validation_split=0.2, epochs=500, callbacks=[stop], verbose=0)
    return model.predict(x_test, verbose=0)[:, 0]


x, y = load_diabetes(return_X_y=True, scaled=False)
predictions = {}
for train, test in KFold(5, shuffle=True, random_state=0).split(x):
    # Standardised by the training patients alone: the others are not known yet.
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    x_train, x_test = (x[train] - mean) / deviation, (x[test] - mean) / deviation
    centre, scale = y[train].mean(), y[train].std()
    y_train = (y[train] - centre) / scale
    found = {
        "scikit-learn LinearRegression": LinearRegression().fit(x_train, y_train).predict(x_test),
        "scikit-learn Ridge(alpha=10)": Ridge(alpha=10).fit(x_train, y_train).predict(x_test),
        "layerkit, Dense(1)": predict_linear(x_train, y_train, x_test),
        "layerkit, hidden layer of 32": predict_network(x_train, y_train, x_test),
    }
    for name, values in found.items():
        predictions.setdefault(name, np.empty(len(y)))[test] = centre + scale * values

print(f"{'predicted for patients not seen':34}   RMSE      R2")
print(f"{'the mean of all patients':34} {np.std(y):6.2f}   {0:.4f}")
for name, values in predictions.items():
    print(f"{name:34} {np.sqrt(np.mean((y - values) ** 2)):6.2f}   {r2_score(y, values):.4f}")
