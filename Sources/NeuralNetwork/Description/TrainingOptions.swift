import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How a model is trained on a shard. Together with weights and shard it determines the result, byte for byte.
public struct TrainingOptions: Sendable, Equatable {
    /// Passes over the examples.
    public var epochs: Int
    /// Examples a step; the last batch of an epoch may have fewer.
    public var batchSize: Int
    public var optimizer: OptimizerDescription
    /// Of shuffling and dropout.
    public var seed: UInt64
    /// Whether each epoch takes the examples in another order. If not, another program can follow step by step.
    public var shuffle: Bool
    /// Of cross_entropy, in 0 ..< 1: that much of the target is spread evenly over all classes (Szegedy et al., 2016).
    public var labelSmoothing: Double

    public init(
        epochs: Int = 1, batchSize: Int = 64, optimizer: OptimizerDescription = .sgd(learningRate: 0.01),
        seed: UInt64 = 0, shuffle: Bool = true, labelSmoothing: Double = 0
    ) {
        self.epochs = epochs
        self.batchSize = batchSize
        self.optimizer = optimizer
        self.seed = seed
        self.shuffle = shuffle
        self.labelSmoothing = labelSmoothing
    }

    /// Refuses settings with which no training makes sense.
    public func validate() throws(DeMLError) {
        for (name, value, range) in [("epochs", epochs, 1...1_000_000), ("batch_size", batchSize, 1...10_000_000)] {
            guard range.contains(value) else {
                throw DeMLError(
                    .outOfRange, "\(name) \(value) is not between \(range.lowerBound) and \(range.upperBound)",
                    place: "options")
            }
        }
        guard labelSmoothing >= 0, labelSmoothing < 1 else {
            throw DeMLError(
                .outOfRange, "label_smoothing \(labelSmoothing) is not at least 0 and below 1", place: "options")
        }
        try optimizer.validate()
    }
}

extension TrainingOptions: Codable {
    private static let keys = ["epochs", "batch_size", "optimizer", "seed", "shuffle", "label_smoothing"]

    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the training options", keys: Self.keys)
        let standard = TrainingOptions()
        self.init(
            epochs: try keys.optional("epochs", Int.self) ?? standard.epochs,
            batchSize: try keys.optional("batch_size", Int.self) ?? standard.batchSize,
            optimizer: try keys.optional("optimizer", OptimizerDescription.self) ?? standard.optimizer,
            seed: try keys.optional("seed", UInt64.self) ?? standard.seed,
            shuffle: try keys.optional("shuffle", Bool.self) ?? standard.shuffle,
            labelSmoothing: try keys.optional("label_smoothing", Double.self) ?? standard.labelSmoothing)
        try validate()
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(epochs, forKey: TextKey("epochs"))
        try container.encode(batchSize, forKey: TextKey("batch_size"))
        try container.encode(optimizer, forKey: TextKey("optimizer"))
        try container.encode(seed, forKey: TextKey("seed"))
        try container.encode(shuffle, forKey: TextKey("shuffle"))
        try container.encode(labelSmoothing, forKey: TextKey("label_smoothing"))
    }

    /// Reads the JSON text of options; what is left out has its default.
    public init(json: String) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(TrainingOptions.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the training options")
        }
    }

    /// The one JSON text of these options: sorted keys, no white space, every option written.
    public var canonicalJSON: String { NeuralNetwork.canonicalJSON(self) }
}
