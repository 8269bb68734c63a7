import CKernels
import Tensors

/// A parameter while it is trained: its values in the kernels' order, and where its gradient goes. A buffer is one without
/// a gradient (for tests of the gradients it has one of zeros).
final class Parameter {
    let description: ParameterDescription
    /// nil: as torch keeps it.
    let order: ParameterOrder?
    let count: Int
    let values: UnsafeMutablePointer<Float>
    /// Kept where somebody looks at it before the parameter changes.
    let gradient: UnsafeMutablePointer<Float>?
    /// Of the gradients of a step's batches, where it has several.
    let sum: UnsafeMutablePointer<Float>?
    /// What training began with, in the kernels' order, for a proximal term.
    let received: UnsafeMutablePointer<Float>?
    /// For the kernels; nil contents for inference.
    let sink: UnsafeMutablePointer<deml_sink>

    init(
        _ description: ParameterDescription, order: ParameterOrder?, purpose: Network.Purpose,
        optimizer: UnsafePointer<deml_optimizer>, in storage: Storage
    ) throws(DeMLError) {
        self.description = description
        self.order = order
        count = description.count
        values = try storage.floats(count, for: .parameters)
        sink = storage.record(deml_sink())
        sink.pointee.value = values
        switch purpose {
        case .inference: gradient = nil
        case .training:
            gradient = nil
            sink.pointee.optimizer = optimizer
        case .trainingInTwoPasses where description.isBuffer: gradient = nil
        case .gradients, .trainingInTwoPasses:
            gradient = try storage.floats(count, for: .gradients)
            sink.pointee.gradient = gradient
        }
        sum = purpose.accumulates && !description.isBuffer ? try storage.floats(count, for: .gradients) : nil
        received = purpose.isProximal ? try storage.floats(count, for: .parameters) : nil
        let states = purpose.optimizer?.stateNames.count ?? 0
        if states > 0 { sink.pointee.state1 = try storage.floats(count, for: .optimizerState) }
        if states > 1 { sink.pointee.state2 = try storage.floats(count, for: .optimizerState) }
    }

    /// The gradient of a whole step; nil where none is kept.
    var stepGradient: UnsafeMutablePointer<Float>? { sum ?? gradient }

    /// Takes values (or another of its arrays) in torch's order.
    func load(_ torch: UnsafePointer<Float>, to ours: UnsafeMutablePointer<Float>, _ pool: OpaquePointer) {
        if let order {
            order.load(pool, torch, ours)
        } else {
            ours.update(from: torch, count: count)
        }
    }

    /// What the optimiser keeps: its first array, its second.
    func state(_ index: Int) -> UnsafeMutablePointer<Float>? {
        index == 0 ? sink.pointee.state1 : sink.pointee.state2
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
