import NeuralNetwork
import Tensors
import Testing

@Suite struct AugmentationTests {
    /// [2, 5, 4], mean and deviation of each channel its own; a convolution wants it channels last, a linear layer not.
    private static func model(_ first: [Layer]) throws -> ModelDescription {
        try ModelDescription(
            input: .init(shape: [2, 5, 4], mean: [0.5, -1], standardDeviation: [2, 0.5]),
            layers: first + [.flatten, .linear(outFeatures: 3)], loss: .crossEntropy)
    }

    /// The inputs of a batch as they are changed, in torch's order.
    private static func augmented(
        _ model: ModelDescription, _ augmentation: Augmentation, _ x: [Float], count: Int, seed: UInt64 = 9,
        epoch: UInt32 = 1, place: Int = 0
    ) throws -> [Float] {
        let network = try Network(model: model, purpose: .gradients, batchCapacity: count, threads: 1)
        x.withUnsafeBytes { network.setInput($0.baseAddress!, isBytes: false, rows: nil, count: count) }
        Augmenter(augmentation, network, seed: seed).apply(epoch: epoch, place: place)
        return network.inputValues(count: count)
    }

    private static func images(_ count: Int) -> [Float] {
        var random = RandomSource("images")
        return random.normals(count * 40)
    }

    /// Against the plainest way to write it.
    @Test func shiftsAndFlips() throws {
        let x = Self.images(30)
        let (mean, deviation): ([Float], [Float]) = ([0.5, -1], [2, 0.5])
        for layers in [[], [Layer.conv2d(outChannels: 2, kernelSize: 3)]] {
            let model = try Self.model(layers)
            let actual = try Self.augmented(model, Augmentation(shift: 2, flip: true), x, count: 30, place: 7)
            var moves: Set<[Int]> = []
            for example in 0..<30 {
                var generator = SeededGenerator(
                    seed: 9, purpose: "augmentation", 1, UInt32(7 + example))
                let down = generator.uniform(below: 5) - 2
                let right = generator.uniform(below: 5) - 2
                let isFlipped = generator.nextWord() & 1 == 1
                moves.insert([down, right, isFlipped ? 1 : 0])
                for channel in 0..<2 {
                    for row in 0..<5 {
                        for column in 0..<4 {
                            let (from, across) = (row + down, (isFlipped ? 3 - column : column) + right)
                            let isInside = (0..<5).contains(from) && (0..<4).contains(across)
                            let raw = isInside ? x[example * 40 + (channel * 5 + from) * 4 + across] : 0
                            let expected = (raw - mean[channel]) / deviation[channel]
                            let value = actual[example * 40 + (channel * 5 + row) * 4 + column]
                            #expect(abs(value - expected) < 1e-5, "example \(example), \(channel), \(row), \(column)")
                        }
                    }
                }
            }
            #expect(moves.count > 15, "images are moved in many ways")
        }
    }

    @Test func noiseIsNormalAndEpochsDiffer() throws {
        let model = try Self.model([])
        let x = Self.images(400)
        let plain = try Self.augmented(model, Augmentation(), x, count: 400)
        let noisy = try Self.augmented(model, Augmentation(noise: 0.25), x, count: 400)
        let noise = zip(noisy, plain).map { Double($0 - $1) }
        let mean = noise.reduce(0, +) / Double(noise.count)
        let variance = noise.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(noise.count)
        #expect(abs(mean) < 0.01 && abs(variance.squareRoot() - 0.25) < 0.01)
        #expect(Set(noise).count > 15_000)
        #expect(try Self.augmented(model, Augmentation(noise: 0.25), x, count: 400) == noisy)
        #expect(try Self.augmented(model, Augmentation(noise: 0.25), x, count: 400, epoch: 2) != noisy)
        #expect(try Self.augmented(model, Augmentation(noise: 0.25), x, count: 400, seed: 10) != noisy)
        // An example's numbers do not depend on the batch that it is in.
        let later = try Self.augmented(model, Augmentation(noise: 0.25), Array(x[40...]), count: 399, place: 1)
        #expect(later == Array(noisy[40...]))
    }

    /// Same bytes for every number of threads and instruction set, and for a subset as for its copy.
    @Test func trainingGivesTheSameBytes() throws {
        for name in ["cnn", "mlp"] {
            let model = try BitExactnessTests.model(name)
            var random = RandomSource("augmented")
            let examples = try random.examples(model, count: 40)
            let start = Initializer.weights(for: model, seed: 1)
            func trained(
                _ augmentation: Augmentation?, threads: Int = 1, _ set: InstructionSet? = nil
            ) throws -> [Float] {
                let trainer = try Trainer(
                    weights: start,
                    options: TrainingOptions(
                        epochs: 2, batchSize: 16, optimizer: .sgd(learningRate: 0.05), augmentation: augmentation),
                    threads: threads, instructionSet: set)
                _ = try trainer.train(on: examples)
                return trainer.weights.parameters
            }
            let augmentation = Augmentation(shift: 1, flip: true, noise: 0.1)
            let expected = try trained(augmentation)
            #expect(expected != (try trained(nil)), "\(name)")
            #expect(try trained(augmentation, threads: 3) == expected, "\(name)")
            #expect(try trained(augmentation, .portable) == expected, "\(name)")
            #expect(try trained(Augmentation()) == (try trained(nil)), "\(name)")
        }
    }

    @Test func whatCannotBeDoneIsRefused() throws {
        let row = try ModelDescription(
            json: #"{"input":{"shape":[6]},"layers":[{"type":"linear","out_features":2}],"loss":"cross_entropy"}"#)
        let image = try Self.model([])
        for (model, augmentation, message) in [
            (row, Augmentation(flip: true), "[channels, height, width]"), (row, Augmentation(shift: 1), "[6]"),
            (image, Augmentation(shift: 4), "out of sight"), (image, Augmentation(shift: -1), "-1"),
            (image, Augmentation(noise: .nan), "nan"), (image, Augmentation(noise: -0.5), "-0.5"),
        ] {
            let error = #expect(throws: DeMLError.self) {
                try TrainingOptions(augmentation: augmentation).validate(for: model)
            }
            #expect(error?.message.contains(message) == true, "\(String(describing: error))")
        }
        try TrainingOptions(augmentation: Augmentation(noise: 0.1)).validate(for: row)
        #expect(throws: DeMLError.self) { try TrainingOptions(json: #"{"augmentation":{"mixup":1}}"#) }
    }
}
