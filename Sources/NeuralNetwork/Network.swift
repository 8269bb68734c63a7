import CKernels
import Tensors

/// A model ready to run on batches of at most `batchCapacity` examples. All memory is allocated when it is
/// made, none in a step.
package final class Network {
    /// What the network is for decides which arrays it has.
    package enum Purpose {
        case inference
        /// Gradients are kept and parameters do not change: for tests of the gradients.
        case gradients
        /// Gradients are consumed by the optimiser at once.
        case training(OptimizerDescription)
        /// Gradients are kept, and the optimiser steps when it is told to: they are summed or changed before.
        case trainingInTwoPasses(OptimizerDescription, accumulates: Bool = false, isProximal: Bool = false)

        var isInference: Bool {
            if case .inference = self { return true }
            return false
        }

        /// What the parameters follow.
        var optimizer: OptimizerDescription? {
            switch self {
            case .inference, .gradients: nil
            case .training(let optimizer), .trainingInTwoPasses(let optimizer, _, _): optimizer
            }
        }

        /// Whether the gradients of several batches are summed.
        var accumulates: Bool {
            if case .trainingInTwoPasses(_, let accumulates, _) = self { return accumulates }
            return false
        }

        /// Whether weights are held to those that training began with.
        var isProximal: Bool {
            if case .trainingInTwoPasses(_, _, let isProximal) = self { return isProximal }
            return false
        }
    }

    let model: ModelDescription
    let batchCapacity: Int
    let purpose: Purpose
    package let pass: Pass
    /// Logits (cross_entropy) or outputs (mse), in torch's layout.
    package let output: Activations
    /// Normalised, in the layout that the first layer wants.
    let input: Activations
    private let operations: [any Operation]
    let parameters: [Parameter]
    private let kernels: KernelPool
    private let storage: Storage
    /// What the kernels read of the optimiser, rate and step included: to be set before each backward pass.
    let optimizer: UnsafeMutablePointer<deml_optimizer>
    private let normalization: Normalization
    /// What an objective needs beside the output.
    let targets: Objective.Arrays
    /// As long as the longest parameter; only for a proximal term.
    let difference: UnsafeMutablePointer<Float>?

    package convenience init(
        model: ModelDescription, purpose: Purpose, batchCapacity: Int, threads: Int,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) {
        try self.init(
            model: model, purpose: purpose, batchCapacity: batchCapacity,
            kernels: try KernelPool(threads: threads, instructionSet: instructionSet))
    }

    /// Throws `tooLarge`, before anything is allocated, where the arrays and the kernels' scratch memory are more than
    /// what is free.
    init(model: ModelDescription, purpose: Purpose, batchCapacity: Int, kernels: KernelPool) throws(DeMLError) {
        let conditions = KernelConditions(
            threads: deml_pool_threads(kernels.pointer), isa: kernels.instructionSet.isa, batch: batchCapacity,
            isTraining: !purpose.isInference)
        let plan = try Self.memoryPlan(model, purpose, conditions)
        try plan.check(free: availableMemory())
        guard deml_pool_reserve(kernels.pointer, plan.kernelScratch) else {
            throw DeMLError(
                .tooLarge, "there is no memory for the \(plan.scratch) bytes that the kernels need",
                hint: "fewer threads need less; or take a machine with more memory")
        }
        self.model = model
        self.batchCapacity = batchCapacity
        self.purpose = purpose
        self.kernels = kernels
        pass = Pass(pool: kernels.pointer)
        storage = Storage(isPlan: false, threads: conditions.threads)
        optimizer = storage.record(purpose.optimizer?.kernel ?? deml_optimizer())

        let parts = try Parts(model, purpose, conditions, storage, optimizer)
        normalization = parts.normalization
        input = parts.input
        operations = parts.operations
        output = parts.output
        parameters = parts.parameters
        targets = parts.targets
        difference = parts.difference
    }

    // MARK: Memory

    /// The memory that such a network and its objective would take. Allocates none of it.
    package static func memoryPlan(
        model: ModelDescription, purpose: Purpose, batchCapacity: Int, threads: Int,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) -> MemoryPlan {
        try memoryPlan(
            model, purpose,
            KernelConditions(
                threads: threads, isa: (instructionSet ?? .standard).isa, batch: batchCapacity,
                isTraining: !purpose.isInference))
    }

    private static func memoryPlan(
        _ model: ModelDescription, _ purpose: Purpose, _ conditions: KernelConditions
    ) throws(DeMLError) -> MemoryPlan {
        let storage = Storage(isPlan: true, threads: conditions.threads)
        _ = try Parts(model, purpose, conditions, storage, storage.record(deml_optimizer()))
        return storage.plan
    }

    /// Bytes that the arrays take, and the kernels' scratch memory now.
    package var memory: (arrays: Int, scratch: Int) {
        (storage.plan.arrays, deml_pool_scratch_bytes(kernels.pointer))
    }

    /// Everything of a network that lies in a storage: to be counted, and to be made.
    private struct Parts {
        let normalization: Normalization
        let input: Activations
        let output: Activations
        let operations: [any Operation]
        let parameters: [Parameter]
        let targets: Objective.Arrays
        let difference: UnsafeMutablePointer<Float>?

        init(
            _ model: ModelDescription, _ purpose: Purpose, _ conditions: KernelConditions, _ storage: Storage,
            _ optimizer: UnsafeMutablePointer<deml_optimizer>
        ) throws(DeMLError) {
            normalization = try Normalization(model.input, model.resolved.preferredLayout ?? .torch, in: storage)
            storage.add(normalization.scratch(conditions))
            var builder = NetworkBuilder(
                purpose: purpose, conditions: conditions, storage: storage, optimizer: optimizer)
            input = Activations(
                shape: model.inputShape, layout: normalization.layout,
                values: try builder.array(perExample: model.inputShape.reduce(1, *), for: .activations), gradient: nil)
            let chain = try builder.branch(model.resolved, from: input)
            storage.place = "the output"
            let whole = try builder.converted(chain, to: .torch)
            output = whole.output
            operations = whole.operations
            parameters = builder.parameters
            storage.place = "the loss"
            targets = try Objective.Arrays(model, outputs: output.size, in: builder)
            storage.place = "the proximal term"
            let longest = parameters.map(\.count).max() ?? 0
            difference = purpose.isProximal ? try storage.floats(longest, for: .gradients) : nil
        }
    }

    // MARK: Parameters

    /// Takes parameters in torch's layout and the order of `state_dict()`.
    package func load(_ values: [Float]) {
        load(values, into: \.values)
    }

    /// The same for another array of each parameter.
    func load(_ values: [Float], into array: (Parameter) -> UnsafeMutablePointer<Float>) {
        precondition(values.count == model.parameterCount, "not the parameters of this model")
        values.withUnsafeBufferPointer { buffer in
            guard var source = buffer.baseAddress else { return }
            for parameter in parameters {
                parameter.load(source, to: array(parameter), pass.pool)
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

    /// The first `count` examples of the batch, normalised, in torch's order: for tests.
    package func inputValues(count: Int) -> [Float] {
        let (channels, pixels) = (normalization.channels, normalization.pixels)
        let size = channels * pixels
        return (0..<count * size).map { index in
            let (example, channel, pixel) = (index / size, index % size / pixels, index % pixels)
            let isLast = input.layout == .channelsLast
            return input.values[example * size + (isLast ? pixel * channels + channel : channel * pixels + pixel)]
        }
    }

    /// What 0 in the data is after normalisation.
    func normalizedZero(channel: Int) -> Float {
        normalization.shift[normalization.channels > 1 ? channel : 0]
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
        scale = try storage.floats(channels, for: .parameters)
        shift = try storage.floats(channels, for: .parameters)
        guard !storage.isPlan else { return }
        for channel in 0..<channels {
            let mean = Self.value(input.mean, channel, else: 0)
            let deviation = Self.value(input.standardDeviation, channel, else: 1)
            scale[channel] = Float(1 / (input.divideBy * deviation))
            shift[channel] = Float(-mean / deviation)
        }
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        deml_gather_scratch(conditions.threads, conditions.isa, conditions.batch, channels, pixels)
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
