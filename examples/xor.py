"""XOR, the smallest problem that needs a hidden layer: learns it in a few seconds and prints what it learnt."""

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

print(f"\nloss {history.history['loss'][0]:.4f} -> {history.history['loss'][-1]:.4f}\n")
print(" a  b │ a xor b   learnt")
for (a, b), target, learnt in zip(x, y, model.predict(x, verbose=0), strict=True):
    print(f" {a}  {b} │    {target[0]}      {learnt[0]:.3f}")
