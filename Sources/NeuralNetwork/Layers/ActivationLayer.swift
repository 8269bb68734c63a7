import CKernels
import Tensors

/// A layer that computes one of the kernels' functions number by number. A file of such a layer names the function, and
/// that is all.
protocol ActivationLayer: LayerDefinition {
    var function: deml_activation { get }
    /// Of functions that have some.
    var kernelOptions: deml_activation_options { get }
}

extension ActivationLayer {
    var kernelOptions: deml_activation_options { deml_activation_options() }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        LayerShapes(output: place.input)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { nil }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let y = try network.elementwiseOutput(of: x)
        network.append(ActivationOperation(x, y, function, kernelOptions))
        return y
    }
}

/// y[i] = f(x[i]). Backward: dx[i] = dy[i]·f'(x[i]), in place: both gradients are the same array.
private final class ActivationOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let function: deml_activation
    private let options: deml_activation_options

    init(_ x: Activations, _ y: Activations, _ function: deml_activation, _ options: deml_activation_options) {
        self.x = x
        self.y = y
        self.function = function
        self.options = options
    }

    func forward(_ pass: Pass) {
        deml_activation_forward(pass.pool, function, options, pass.batch * x.size, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        deml_activation_backward(pass.pool, function, options, pass.batch * x.size, x.values, y.values, dy, dx)
    }
}
