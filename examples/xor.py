"""XOR, the smallest problem that needs a hidden layer: learns it in a second or two, and prints what it learnt.

The numbers are the truth table of "either a or b, but not both". No straight line parts its ones from its zeros, so a
single layer cannot learn it (Minsky and Papert, Perceptrons, 1969); two can.
"""

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import MeanSquaredError
from layerkit.optimizers import SGD

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([[0], [1], [1], [0]])

model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0)
model.compile(optimizer=SGD(learning_rate=2.0), loss=MeanSquaredError(), metrics=["accuracy"])
history = model.fit(x, y, epochs=2000, batch_size=4)

losses = history.history["loss"]
print(f"\nThe loss fell from {losses[0]:.4f} to {losses[-1]:.4f}.\n")
print(" a  b | a xor b  learnt")
print("------+----------------")
for (a, b), (target,), (learnt,) in zip(x, y, model.predict(x, verbose=0), strict=True):
    print(f" {a}  {b} |    {target}     {learnt:.3f}")
