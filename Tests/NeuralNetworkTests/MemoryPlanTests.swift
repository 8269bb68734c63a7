import NeuralNetwork
import Tensors
import Testing

/// What a network takes is known, layer by layer, before any of it is allocated, and what is more than there is is refused.
@Suite struct MemoryPlanTests {
    /// A convolution of one weight whose padding makes an image of 131,071 x 131,071 out of one pixel: 68.7 GB a thread.
    static func widePadding(channels: Int = 1) throws -> ModelDescription {
        try ModelDescription(
            input: .init(shape: [channels, 1, 1]),
            layers: [
                .conv2d(outChannels: 2, kernelSize: 1, stride: 65535, padding: 65535), .globalAveragePool2d, .flatten,
            ], loss: .crossEntropy)
    }

    static func models() throws -> [(name: String, model: ModelDescription)] {
        try Reference.names().map { ($0, try Reference($0).model) }
            + ["mlp", "cnn", "everything", "transformer", "recurrent"].map { ($0, try BitExactnessTests.model($0)) }
    }

    /// Whatever the layers are, the network has the arrays that the plan says, and its kernels never need more scratch
    /// memory than was reserved, with batches of any size up to the largest.
    @Test(arguments: [1, 7, 64])
    func whatIsPlannedIsTaken(batchCapacity: Int) throws {
        let purposes: [(String, Network.Purpose)] = [
            ("inference", .inference), ("gradients", .gradients), ("sgd", .training(.sgd())),
            ("adam", .training(.adam())),
        ]
        for (name, model) in try Self.models() {
            for (purposeName, purpose) in purposes {
                for threads in [1, 3] {
                    let plan = try Network.memoryPlan(
                        model: model, purpose: purpose, batchCapacity: batchCapacity, threads: threads)
                    let network = try Network(
                        model: model, purpose: purpose, batchCapacity: batchCapacity, threads: threads)
                    let context = "\(name), \(purposeName), batches of \(batchCapacity), \(threads) threads"
                    #expect(network.memory.arrays == plan.arrays, "\(context)")
                    let reserved = network.memory.scratch
                    // Blocks begin at multiples of 64 bytes.
                    #expect((plan.scratch...plan.scratch + 64 * (threads + 1)).contains(reserved), "\(context)")
                    var random = RandomSource("memory")
                    let examples = try random.examples(model, count: batchCapacity)
                    let objective = Objective(network, labelSmoothing: 0)
                    for batch in Set([1, batchCapacity / 3, batchCapacity - 1, batchCapacity]) where batch > 0 {
                        try ExampleBatch(network, objective).load(batch, of: examples) { $0 }
                        network.forward()
                        _ = objective.compare()
                        if purposeName != "inference" { network.backward() }
                        #expect(network.memory.scratch == reserved, "\(context): scratch grew with a batch of \(batch)")
                    }
                }
            }
        }
    }

    /// The numbers of a model small enough to count by hand.
    @Test func sharesOfLayers() throws {
        let model = try ModelDescription(
            input: .init(shape: [5]),
            layers: [
                .linear(outFeatures: 7), .tanh,
                .residual(layers: [.linear(outFeatures: 3)], projection: [.linear(outFeatures: 3, bias: false)]),
            ], loss: .crossEntropy)
        let plan = try Network.memoryPlan(
            model: model, purpose: .training(.adam()), batchCapacity: 10, threads: 1)
        let shares = Dictionary(uniqueKeysWithValues: plan.shares.map { ($0.place, $0) })
        #expect(
            plan.shares.map(\.place) == [
                "the input", "layer 0 (linear)", "layer 1 (tanh)", "layer 2.layers.0 (linear)", "layer 2 (residual)",
                "layer 2.projection.0 (linear)", "the loss",
            ])
        let first = try #require(shares["layer 0 (linear)"])
        #expect(first.parameters == 4 * (7 * 5 + 7))
        #expect(first.optimizerState == 2 * first.parameters)
        #expect(first.activations == 4 * 10 * 7)
        #expect(first.gradients == 4 * 10 * 7)
        // The gradient passes through one array.
        #expect(shares["layer 1 (tanh)"]?.gradients == 0)
        #expect(shares["layer 1 (tanh)"]?.activations == 4 * 10 * 7)
        #expect(shares["layer 2.projection.0 (linear)"]?.parameters == 4 * 3 * 7)
        // The sum, and the gradient of the input through the projection.
        #expect(shares["layer 2 (residual)"]?.gradients == 4 * 10 * 3 + 4 * 10 * 7)
        // Labels, losses, and whether it was right; arrays of nothing have one element.
        #expect(shares["the loss"]?.bytes == 10 * (4 + 4 + 1) + 4)
        #expect(plan.bytes == plan.shares.reduce(0) { $0 + $1.arrays } + plan.scratch)
        let inference = try Network.memoryPlan(model: model, purpose: .inference, batchCapacity: 10, threads: 1)
        #expect(inference.shares.allSatisfy { $0.gradients == 0 && $0.optimizerState == 0 })
    }

    @Test func theLayerThatNeedsMostIsNamed() throws {
        let model = try ModelDescription(
            input: .init(shape: [100]), layers: [.linear(outFeatures: 10), .relu, .linear(outFeatures: 1000)],
            loss: .crossEntropy)
        let plan = try Network.memoryPlan(model: model, purpose: .inference, batchCapacity: 100, threads: 2)
        try plan.check(free: plan.bytes)
        let error = try #require(throws: DeMLError.self) { try plan.check(free: plan.bytes - 1) }
        #expect(error.code == .tooLarge)
        #expect(error.exitCode == 65)
        #expect(error.place == "layer 2 (linear)")
        for number in [plan.bytes, plan.bytes - 1, plan.shares[2].bytes] {
            #expect(error.message.contains("\(number) "), "\(error)")
        }
        #expect(error.hint?.contains("batch") == true)
    }

    /// Kernels of a few weights that want more than any machine has: an error in time, not the end of the process.
    @Test(arguments: [1, 1 << 10])
    func scratchIsAskedFor(channels: Int) throws {
        let model = try Self.widePadding(channels: channels)
        let weights = Initializer.weights(for: model, seed: 1)
        var random = RandomSource("scratch")
        let examples = try random.examples(model, count: 3)
        let attempts: [() throws -> Void] = [
            { _ = try Trainer(weights: weights, options: TrainingOptions(), threads: 64).train(on: examples) },
            { _ = try NeuralNetwork.evaluate(weights: weights, examples: examples, threads: 64) },
            { _ = try predict(weights: weights, x: examples.x, threads: 64) },
        ]
        for attempt in attempts {
            let error = try #require(throws: DeMLError.self) { try attempt() }
            #expect(error.code == .tooLarge)
            #expect(error.place == "layer 0 (conv2d)")
            #expect(error.hint?.contains("threads") == true)
        }
    }

    /// Sizes that no integer holds are more than is free.
    @Test func sizesBeyondIntegers() throws {
        let model = try Self.widePadding(channels: 1 << 27)
        for (batch, threads) in [(1, 1024), (Int.max, 1), (1 << 40, 1024)] {
            let plan = try Network.memoryPlan(
                model: model, purpose: .training(.adam()), batchCapacity: batch, threads: threads)
            #expect(plan.bytes == Int.max)
            #expect(throws: DeMLError.self) { try plan.check(free: Int.max) }
        }
    }
}
