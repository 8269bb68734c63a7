import CKernels

/// One step of a network's forward and backward pass, with its arrays allocated beforehand.
///
/// `forward` reads the input's values and writes the output's. `backward` is called in reverse order; it reads the
/// output's gradient (and may spoil it), writes the input's if that exists, and hands the parameters' gradients to
/// their sinks. Neither allocates.
protocol Operation: AnyObject {
    func forward(_ pass: Pass)
    func backward(_ pass: Pass)
    /// The kernels' memory for both; of `backward` only in training.
    func scratch(_ conditions: KernelConditions) -> deml_scratch
}

extension Operation {
    func scratch(_ conditions: KernelConditions) -> deml_scratch { deml_scratch() }
}

/// How kernels will be called: what their scratch memory depends on, besides shapes.
struct KernelConditions {
    let threads: Int
    let isa: deml_isa
    let batch: Int
    let isTraining: Bool
}

/// What all operations of one step share. One object a network, changed between steps.
package final class Pass {
    let pool: OpaquePointer
    /// Examples in this step.
    package var batch = 0
    /// The place in the random numbers of dropout.
    package var seed: UInt64 = 0
    package var epoch: UInt32 = 0
    package var step: UInt32 = 0

    init(pool: OpaquePointer) {
        self.pool = pool
    }
}

/// The order of an example's numbers in memory.
enum Layout {
    /// torch's: [channels, …].
    case torch
    /// [pixels][channels], as the image kernels want it.
    case channelsLast
}

/// What flows between operations: values of a batch and the loss' gradient by them.
package final class Activations {
    /// One example, in torch's order of dimensions, whatever the layout.
    let shape: [Int]
    let layout: Layout
    /// [batch capacity][size].
    package let values: UnsafeMutablePointer<Float>
    /// As `values`; nil where nobody needs it: for inference, and where no parameter comes before.
    package let gradient: UnsafeMutablePointer<Float>?

    /// Numbers in one example.
    package let size: Int
    let channels: Int
    /// Numbers in one channel.
    let pixels: Int

    init(
        shape: [Int], layout: Layout, values: UnsafeMutablePointer<Float>, gradient: UnsafeMutablePointer<Float>?
    ) {
        self.shape = shape
        self.layout = layout
        self.values = values
        self.gradient = gradient
        size = shape.reduce(1, *)
        channels = shape[0]
        pixels = size / channels
    }

    /// Whether both layouts are one and the same.
    var isEitherLayout: Bool { channels == 1 || pixels == 1 }
    /// Of an image; a sequence [channels, length] has one row.
    var height: Int { shape.count == 2 ? 1 : shape[1] }
    var width: Int { shape[shape.count - 1] }

    /// The same memory under another shape and layout.
    func relabelled(shape: [Int]? = nil, layout: Layout) -> Activations {
        Activations(shape: shape ?? self.shape, layout: layout, values: values, gradient: gradient)
    }
}
