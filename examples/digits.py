"""Handwritten digits: 1,797 real images of 8 x 8 pixels, a quarter of which is kept for the test.

The images come with scikit-learn, from the UCI data set "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998). A network with one hidden layer reads at least 97 % of the test images right, after a few seconds.
"""

import sys

from layerkit import Sequential
from layerkit.layers import Dense
from layerkit.losses import SparseCategoricalCrossentropy

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit('This example needs scikit-learn. Install it with: python -m pip install ".[examples]"')

images, digits = load_digits(return_X_y=True)  # pixels from 0 to 16
x_train, x_test, y_train, y_test = train_test_split(
    images / 16, digits, test_size=0.25, stratify=digits, random_state=0
)

model = Sequential([Dense(128, activation="relu"), Dense(10)], seed=0)
model.compile("adam", SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.fit(x_train, y_train, epochs=60)

_, accuracy = model.evaluate(x_test, y_test, verbose=0)
read_as = model.predict(x_test, verbose=0).argmax(axis=-1)
(mistakes,) = (read_as != y_test).nonzero()
print(f"\nTest accuracy: {accuracy:.4f}, {len(mistakes)} mistakes in {len(y_test)} images.")

if len(mistakes):
    first = mistakes[0]
    print(f"\nThe first mistake is a {y_test[first]}, read as {read_as[first]}:\n")
    for row in x_test[first].reshape(8, 8):
        print("    " + "".join(" .:-=+*#@"[int(8 * pixel)] * 2 for pixel in row))
