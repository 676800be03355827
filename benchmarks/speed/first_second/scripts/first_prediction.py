"""The first prediction of a process, as the README begins."""

from ase.build import bulk

from equivar_jax import predict

print(predict(bulk("MgO", "rocksalt", a=4.21)))
