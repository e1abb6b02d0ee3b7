// RUN: moe-opt %s --onnx-infer-shapes | FileCheck %s

// CHECK-LABEL: func.func @tokens
func.func @tokens(%s: tensor<?x?xf32> {onnx.dims = ["b", "n"]}, %x: tensor<?x?x4xf32> {onnx.dims = ["b", "n", ""]},
                  %c: tensor<1x?xi1> {onnx.dims = ["", "n"]}, %z: tensor<1x?x4xf32> {onnx.dims = ["", "n", ""]}) {
  // CHECK: moe.token_keep {{.*}}onnx.dims = {{\[}}["b", "n-2"]]
  %part = moe.token_keep %s {k = 3, first = 2, count = 5} : tensor<?x?xf32> -> tensor<?x?xi32>
  // CHECK: moe.token_keep {{.*}} -> tensor<?x5xi32>
  %rest = moe.token_keep %s {k = 3, first = 2} : tensor<?x?xf32> -> tensor<?x?xi32>
  // CHECK: moe.token_drop {{.*}}onnx.dims = {{\[}}["b", "n-2", ""]]
  %0 = moe.token_drop %x, %part : tensor<?x?x4xf32>, tensor<?x?xi32> -> tensor<?x?x4xf32>
  // CHECK: moe.token_drop {{.*}} -> tensor<?x6x4xf32>
  %1 = moe.token_drop %x, %rest fuse(%s : tensor<?x?xf32>) : tensor<?x?x4xf32>, tensor<?x?xi32> -> tensor<?x?x4xf32>
  // CHECK: moe.token_restore {{.*}}onnx.dims = {{\[}}["b", "n", ""]]
  %2 = moe.token_restore %0, %part base(%x : tensor<?x?x4xf32>) {fill = #moe.fill<base>}
      : tensor<?x?x4xf32>, tensor<?x?xi32> -> tensor<?x?x4xf32>
  // What a condition keeps has a name of its own.
  // CHECK: moe.token_keep {{.*}}onnx.dims = {{\[}}["", "[[K:\?[0-9]+]]"]]
  %some = moe.token_keep %c {policy = #moe.keep_policy<mask>} : tensor<1x?xi1> -> tensor<1x?xi32>
  // CHECK: moe.token_drop {{.*}}onnx.dims = {{\[}}["", "[[K]]", ""]]
  %3 = moe.token_drop %z, %some : tensor<1x?x4xf32>, tensor<1x?xi32> -> tensor<1x?x4xf32>
  // CHECK: moe.keep_compose {{.*}}onnx.dims = {{\[}}["b", ""]]
  %4 = moe.keep_compose %part, %rest : tensor<?x?xi32>, tensor<?x?xi32> -> tensor<?x?xi32>
  return
}

// CHECK-LABEL: func.func @merge
func.func @merge(%x: tensor<?x?x4xf32> {onnx.dims = ["b", "n", ""]}, %s: tensor<?x?x1xf32> {onnx.dims = ["b", "n", ""]}) {
  // CHECK: moe.token_merge {{.*}}onnx.dims = {{\[}}["b", "n-3", ""], ["b", "n-3", ""], ["b", "n"]]
  %y, %t, %a = moe.token_merge %x, %s, %x {r = 3} : tensor<?x?x4xf32>, tensor<?x?x1xf32>, tensor<?x?x4xf32>
      -> tensor<?x?x4xf32>, tensor<?x?x?xf32>, tensor<?x?xi32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%a: tensor<?x3x?x?xf32> {onnx.dims = ["b", "", "q", "n"]}) {
  // CHECK: moe.token_score {{.*}}onnx.dims = {{\[}}["b", "n"]]
  %s = moe.token_score %a {query = -1} : tensor<?x3x?x?xf32> -> tensor<?x?xf32>
  return
}

// CHECK-LABEL: func.func @pools
func.func @pools(%x: tensor<?x3x?x9xf32> {onnx.dims = ["b", "", "h", ""]}, %c: tensor<?xi64> {onnx.dims = ["b"]}) {
  // CHECK: moe.pool {{.*}} -> tensor<?x3x1x1xf32>
  %0 = moe.pool %x {pooling = #moe.pooling<kind = max>} : tensor<?x3x?x9xf32> -> tensor<?x?x?x?xf32>
  // CHECK: moe.pool {{.*}}onnx.dims = {{\[}}["b", "", "h", ""]]{{.*}} -> tensor<?x3x?x9xf32>
  %1 = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [3, 3], pads = [1, 1, 1, 1]>} : tensor<?x3x?x9xf32> -> tensor<?x3x?x?xf32>
  // CHECK: moe.pool {{.*}} -> tensor<?x3x?x4xf32>
  %2 = moe.pool %x {pooling = #moe.pooling<kind = avg, kernel = [2, 2], strides = [2, 2]>} : tensor<?x3x?x9xf32> -> tensor<?x3x?x?xf32>
  // CHECK: moe.pool_select {{.*}} -> tensor<?x3x?x5xf32>
  %3 = moe.pool_select %x, %c {experts = [#moe.pooling<kind = avg, kernel = [2, 2], strides = [2, 2], ceil = true>]}
      : tensor<?x3x?x9xf32>, tensor<?xi64> -> tensor<?x3x?x?xf32>
  return
}
