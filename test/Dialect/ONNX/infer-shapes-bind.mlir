// RUN: moe-opt %s --onnx-infer-shapes='bind=s=5' | FileCheck %s
// RUN: not moe-opt %s --onnx-infer-shapes='bind=t=5' 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moe-opt %s --onnx-infer-shapes='bind=s=-1' 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// NONE: no argument has an extent named 't'; there are: b, s
// NEGATIVE: cannot read 'bind=s=-1'; NAME=N is accepted, where N is 0 or more

// The number takes the name's place, wherever it goes.
// CHECK: func.func @f(%{{.*}}: tensor<?x5x8xf32> {onnx.dims = ["b", "", ""]})
// CHECK-SAME: -> tensor<?x8xf32>
func.func @f(%x: tensor<?x?x8xf32> {onnx.dims = ["b", "s", ""]}) -> tensor<*xf32> {
  %flat = onnx.Constant() {value = dense<[-1, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: onnx.Reshape{{.*}}"5*b", ""
  %0 = onnx.Reshape(%x, %flat) : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}
