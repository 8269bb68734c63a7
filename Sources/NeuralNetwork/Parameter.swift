import CKernels
import Tensors

/// A parameter while it is trained: its values in the kernels' order, and where its gradient goes.
final class Parameter {
    /// How the kernels keep what torch keeps otherwise.
    enum Order {
        case torch
        /// torch [out][in], here blocks of [in][64 outputs].
        case linear(in: Int, out: Int)
        /// torch [out][in][kh][kw], here [kh][kw][in][out].
        case conv2d(in: Int, out: Int, kernel: Size2D)
        /// torch [channels][pixels], here [pixels][channels].
        case image(channels: Int, pixels: Int)
    }

    let description: ParameterDescription
    let order: Order
    let count: Int
    let values: UnsafeMutablePointer<Float>
    /// Kept only where a test looks at it.
    let gradient: UnsafeMutablePointer<Float>?
    /// For the kernels; nil contents for inference.
    let sink: UnsafeMutablePointer<deml_sink>

    init(
        _ description: ParameterDescription, order: Order, purpose: Network.Purpose,
        optimizer: UnsafePointer<deml_optimizer>, in storage: Storage
    ) throws(DeMLError) {
        self.description = description
        self.order = order
        count = description.count
        values = try storage.floats(count)
        sink = try storage.allocate(deml_sink.self, 1)
        sink.pointee.value = values
        switch purpose {
        case .inference:
            gradient = nil
        case .gradients:
            gradient = try storage.floats(count)
            sink.pointee.gradient = gradient
        case .training(let description):
            gradient = nil
            sink.pointee.optimizer = optimizer
            if description.usesFirstState { sink.pointee.state1 = try storage.floats(count) }
            if description.usesSecondState { sink.pointee.state2 = try storage.floats(count) }
        }
    }

    /// Takes values in torch's order.
    func load(_ torch: UnsafePointer<Float>, _ pool: OpaquePointer) {
        switch order {
        case .torch: values.update(from: torch, count: count)
        case .linear(let input, let output): deml_linear_weights_import(pool, input, output, torch, values)
        case .conv2d(let input, let output, let kernel):
            deml_conv2d_weights_import(pool, input, output, kernel.height, kernel.width, torch, values)
        case .image(let channels, let pixels): deml_nchw_to_nhwc(pool, 1, channels, pixels, torch, values)
        }
    }

    /// Gives values (or a gradient) back in torch's order.
    func store(
        _ ours: UnsafePointer<Float>, to torch: UnsafeMutablePointer<Float>, _ pool: OpaquePointer
    ) {
        switch order {
        case .torch: torch.update(from: ours, count: count)
        case .linear(let input, let output): deml_linear_weights_export(pool, input, output, ours, torch)
        case .conv2d(let input, let output, let kernel):
            deml_conv2d_weights_export(pool, input, output, kernel.height, kernel.width, ours, torch)
        case .image(let channels, let pixels): deml_nhwc_to_nchw(pool, 1, channels, pixels, ours, torch)
        }
    }
}

extension OptimizerDescription {
    /// Whether the kernels keep momentum (sgd) or the first moment (adam).
    var usesFirstState: Bool {
        if case .sgd(_, let momentum, _, _) = self { return momentum != 0 }
        return true
    }

    /// Whether the kernels keep the second moment.
    var usesSecondState: Bool {
        if case .sgd = self { return false }
        return true
    }

    /// The kernels' form of these settings, before the first step.
    var kernel: deml_optimizer {
        var kernel = deml_optimizer()
        kernel.learning_rate = Float(learningRate)
        switch self {
        case .sgd(_, let momentum, let nesterov, let weightDecay):
            kernel.kind = DEML_SGD
            kernel.momentum = Float(momentum)
            kernel.nesterov = nesterov
            kernel.weight_decay = Float(weightDecay)
        case .adam(_, let betas, let epsilon, let weightDecay), .adamw(_, let betas, let epsilon, let weightDecay):
            kernel.kind = type == "adam" ? DEML_ADAM : DEML_ADAMW
            kernel.beta1 = Float(betas.0)
            kernel.beta2 = Float(betas.1)
            kernel.epsilon = Float(epsilon)
            kernel.weight_decay = Float(weightDecay)
        }
        return kernel
    }
}
