import CKernels
import Tensors

/// A parameter while it is trained: its values in the kernels' order, and where its gradient goes.
final class Parameter {
    let description: ParameterDescription
    /// nil: as torch keeps it.
    private let order: ParameterOrder?
    let count: Int
    let values: UnsafeMutablePointer<Float>
    /// Kept only where a test looks at it.
    let gradient: UnsafeMutablePointer<Float>?
    /// For the kernels; nil contents for inference.
    let sink: UnsafeMutablePointer<deml_sink>

    init(
        _ description: ParameterDescription, order: ParameterOrder?, purpose: Network.Purpose,
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
        if let order {
            order.load(pool, torch, values)
        } else {
            values.update(from: torch, count: count)
        }
    }

    /// Gives values (or a gradient) back in torch's order.
    func store(
        _ ours: UnsafePointer<Float>, to torch: UnsafeMutablePointer<Float>, _ pool: OpaquePointer
    ) {
        if let order {
            order.store(pool, ours, torch)
        } else {
            torch.update(from: ours, count: count)
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
