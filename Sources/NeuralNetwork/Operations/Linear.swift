import CKernels

/// y[rows][out] = f(x[rows][in]·W[in][out] + b[out]), rows being batch × all dimensions but the last; f: identity or relu.
/// Backward: dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ dy.
final class Linear: Operation {
    private let x: Activations
    private let y: Activations
    private let weight: Parameter
    private let bias: Parameter?
    private let activation: deml_activation
    private let rowsPerExample: Int
    private let inFeatures: Int
    private let outFeatures: Int

    init(_ x: Activations, _ y: Activations, weight: Parameter, bias: Parameter?, activation: deml_activation) {
        self.x = x
        self.y = y
        self.weight = weight
        self.bias = bias
        self.activation = activation
        inFeatures = x.shape[x.shape.count - 1]
        outFeatures = y.shape[y.shape.count - 1]
        rowsPerExample = x.size / inFeatures
    }

    func forward(_ pass: Pass) {
        deml_linear_forward(
            pass.pool, pass.batch * rowsPerExample, inFeatures, outFeatures, x.values, weight.values, bias?.values,
            activation, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        let rows = pass.batch * rowsPerExample
        if activation != DEML_IDENTITY {
            deml_activation_backward(pass.pool, activation, 0, rows * outFeatures, nil, y.values, dy, dy)
        }
        // Before the weights change.
        if let dx = x.gradient {
            deml_linear_input_gradient(pass.pool, rows, inFeatures, outFeatures, dy, weight.values, dx)
        }
        deml_linear_weight_gradient(pass.pool, rows, inFeatures, outFeatures, x.values, dy, weight.sink, bias?.sink)
    }
}
