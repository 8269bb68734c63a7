import CKernels
import Tensors

/// A model ready to run on batches of at most `batchCapacity` examples. All memory is allocated here, none in a step.
package final class Network {
    /// What the network is for decides which arrays it has.
    package enum Purpose {
        case inference
        /// Gradients are kept and parameters do not change: for tests of the gradients.
        case gradients
        /// Gradients are consumed by the optimiser at once.
        case training(OptimizerDescription)
        /// Gradients are kept, and the optimiser steps when it is told to: they are summed or changed before.
        case trainingInTwoPasses(OptimizerDescription)

        var isInference: Bool {
            if case .inference = self { return true }
            return false
        }

        /// What the parameters follow.
        var optimizer: OptimizerDescription? {
            switch self {
            case .inference, .gradients: nil
            case .training(let optimizer), .trainingInTwoPasses(let optimizer): optimizer
            }
        }
    }

    let model: ModelDescription
    let batchCapacity: Int
    let purpose: Purpose
    package let pass: Pass
    /// Logits (cross_entropy) or outputs (mse), in torch's layout.
    package let output: Activations
    private let input: Activations
    private let operations: [any Operation]
    let parameters: [Parameter]
    private let kernels: KernelPool
    private let storage: Storage
    /// What the kernels read of the optimiser, rate and step included: to be set before each backward pass.
    let optimizer: UnsafeMutablePointer<deml_optimizer>
    private let normalization: Normalization

    package convenience init(
        model: ModelDescription, purpose: Purpose, batchCapacity: Int, threads: Int,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) {
        try self.init(
            model: model, purpose: purpose, batchCapacity: batchCapacity,
            kernels: try KernelPool(threads: threads, instructionSet: instructionSet))
    }

    init(model: ModelDescription, purpose: Purpose, batchCapacity: Int, kernels: KernelPool) throws(DeMLError) {
        self.model = model
        self.batchCapacity = batchCapacity
        self.purpose = purpose
        self.kernels = kernels
        pass = Pass(pool: kernels.pointer)
        storage = Storage()
        optimizer = try storage.allocate(deml_optimizer.self, 1)
        if let description = purpose.optimizer { optimizer.pointee = description.kernel }

        let inputShape = model.inputShape
        normalization = try Normalization(model.input, model.resolved.preferredLayout ?? .torch, in: storage)
        input = Activations(
            shape: inputShape, layout: normalization.layout,
            values: try storage.floats(batchCapacity * inputShape.reduce(1, *)), gradient: nil)
        var builder = NetworkBuilder(
            purpose: purpose, batchCapacity: batchCapacity, storage: storage, optimizer: optimizer)
        let chain = try builder.converted(try builder.branch(model.resolved, from: input), to: .torch)
        output = chain.output
        operations = chain.operations
        parameters = builder.parameters
    }

    // MARK: Parameters

    /// Takes parameters in torch's layout and the order of `state_dict()`.
    package func load(_ values: [Float]) {
        precondition(values.count == model.parameterCount, "not the parameters of this model")
        values.withUnsafeBufferPointer { buffer in
            guard var source = buffer.baseAddress else { return }
            for parameter in parameters {
                parameter.load(source, pass.pool)
                source += parameter.count
            }
        }
    }

    /// The parameters in torch's layout and the order of `state_dict()`.
    package func parameterValues() -> [Float] {
        collect(\.values)
    }

    /// The gradients of the last backward pass, as the parameters are ordered. Only for `Purpose.gradients`.
    package func gradientValues() -> [Float] {
        precondition(parameters.allSatisfy { $0.gradient != nil }, "this network keeps no gradients")
        return collect { $0.gradient ?? $0.values }
    }

    /// One array of each parameter, in torch's layout and the order of `state_dict()`.
    func collect(_ array: (Parameter) -> UnsafeMutablePointer<Float>) -> [Float] {
        makeArray(count: model.parameterCount) { buffer in
            guard var target = buffer.baseAddress else { return }
            for parameter in parameters {
                parameter.store(array(parameter), to: target, pass.pool)
                target += parameter.count
            }
        }
    }

    /// Whether all parameters are finite.
    var isFinite: Bool {
        parameters.allSatisfy { deml_all_finite(pass.pool, $0.count, $0.values) }
    }

    // MARK: Steps

    /// Takes the examples with the given row numbers (nil: the first `count`) as the batch, normalised.
    /// - Parameter x: the stored rows, `Float` or `UInt8`.
    package func setInput(_ x: UnsafeRawPointer, isBytes: Bool, rows: UnsafePointer<Int64>?, count: Int) {
        precondition(count <= batchCapacity, "the batch is too large")
        pass.batch = count
        normalization.gather(x, isBytes: isBytes, rows: rows, count: count, to: input.values, pass.pool)
    }

    package func forward() {
        for operation in operations { operation.forward(pass) }
    }

    /// From the gradient in `output` to all parameters.
    package func backward() {
        for operation in operations.reversed() { operation.backward(pass) }
    }
}

/// x → (x/divideBy - mean)/std, as one multiply-add a number: x·scale + shift.
private struct Normalization {
    let channels: Int
    let pixels: Int
    let layout: Layout
    /// [channels]
    let scale: UnsafeMutablePointer<Float>
    let shift: UnsafeMutablePointer<Float>

    init(_ input: ModelDescription.Input, _ preferred: Layout, in storage: Storage) throws(DeMLError) {
        let isUniform = input.mean.count <= 1 && input.standardDeviation.count <= 1
        let size = input.shape.reduce(1, *)
        // The kernel that gathers writes channels last; without channels that is torch's order.
        let keepsOrder = isUniform && preferred == .torch
        channels = keepsOrder ? 1 : input.shape[0]
        pixels = size / channels
        layout = keepsOrder ? .torch : .channelsLast
        scale = try storage.floats(channels)
        shift = try storage.floats(channels)
        for channel in 0..<channels {
            let mean = Self.value(input.mean, channel, else: 0)
            let deviation = Self.value(input.standardDeviation, channel, else: 1)
            scale[channel] = Float(1 / (input.divideBy * deviation))
            shift[channel] = Float(-mean / deviation)
        }
    }

    private static func value(_ values: [Double], _ channel: Int, else standard: Double) -> Double {
        values.count > 1 ? values[channel] : values.first ?? standard
    }

    func gather(
        _ x: UnsafeRawPointer, isBytes: Bool, rows: UnsafePointer<Int64>?, count: Int,
        to values: UnsafeMutablePointer<Float>, _ pool: OpaquePointer
    ) {
        if isBytes {
            deml_gather_u8(
                pool, count, channels, pixels, x.assumingMemoryBound(to: UInt8.self), rows, scale, shift, values)
        } else {
            deml_gather_f32(
                pool, count, channels, pixels, x.assumingMemoryBound(to: Float.self), rows, scale, shift, values)
        }
    }
}
