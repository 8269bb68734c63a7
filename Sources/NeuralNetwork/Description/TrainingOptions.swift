import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How a model is trained on a shard. Together with weights and shard it determines the result, byte for byte.
public struct TrainingOptions: Sendable, Equatable {
    /// Passes over the examples; 1 where `steps` says how long training is.
    public var epochs: Int
    /// Optimiser steps of the whole training, in as many passes as they need; nil: `epochs` passes. The last pass may end
    /// within the examples.
    public var steps: Int?
    /// Examples a step; the last batch of an epoch may have fewer.
    public var batchSize: Int
    public var optimizer: OptimizerDescription
    /// Of shuffling and dropout.
    public var seed: UInt64
    /// Whether each epoch takes the examples in another order. If not, another program can follow step by step.
    public var shuffle: Bool
    /// Of cross_entropy, in 0 ..< 1: that much of the target is spread evenly over all classes (Szegedy et al., 2016).
    public var labelSmoothing: Double
    /// How the learning rate goes with the steps.
    public var schedule: LearningRateSchedule
    /// The gradient of a step, over all parameters together, is scaled down to this norm where its own is larger; nil:
    /// never. torch.nn.utils.clip_grad_norm_ (Pascanu et al., 2013, arXiv 1211.5063).
    public var clipGradNorm: Double?
    /// Batches whose gradients make one step: each counts for one part in so many. The last step of an epoch takes what
    /// batches are left, with the same weight each.
    public var accumulateSteps: Int
    /// FedProx's µ (Li et al., 2020, arXiv 1812.06127): µ·(weights - received weights) is added to the gradient of a
    /// step, before it is clipped. The loss that is reported goes without that term.
    public var proximalMu: Double
    /// Of cross_entropy: how much the examples of each class count; nil: all the same. torch's CrossEntropyLoss(weight:):
    /// a batch's loss is divided by the sum of its examples' weights.
    public var classWeights: [Double]?
    /// What is done to the inputs at random; nil: nothing.
    public var augmentation: Augmentation?

    public init(
        epochs: Int = 1, batchSize: Int = 64, optimizer: OptimizerDescription = .sgd(learningRate: 0.01),
        seed: UInt64 = 0, shuffle: Bool = true, labelSmoothing: Double = 0,
        schedule: LearningRateSchedule = .constant, clipGradNorm: Double? = nil, accumulateSteps: Int = 1,
        proximalMu: Double = 0, classWeights: [Double]? = nil, augmentation: Augmentation? = nil, steps: Int? = nil
    ) {
        self.epochs = epochs
        self.steps = steps
        self.batchSize = batchSize
        self.optimizer = optimizer
        self.seed = seed
        self.shuffle = shuffle
        self.labelSmoothing = labelSmoothing
        self.schedule = schedule
        self.clipGradNorm = clipGradNorm
        self.accumulateSteps = accumulateSteps
        self.proximalMu = proximalMu
        self.classWeights = classWeights
        self.augmentation = augmentation
    }

    /// Optimiser steps of one pass over so many examples.
    public func stepsPerEpoch(examples: Int) -> Int {
        let batches = examples / batchSize + (examples % batchSize == 0 ? 0 : 1)
        return batches / accumulateSteps + (batches % accumulateSteps == 0 ? 0 : 1)
    }

    /// Optimiser steps of a training on so many examples. Saturates, so that no number out of a stranger's file can
    /// overflow.
    public func steps(examples: Int) -> Int {
        if let steps { return steps }
        let (product, overflow) = epochs.multipliedReportingOverflow(by: stepsPerEpoch(examples: examples))
        return overflow ? .max : product
    }

    /// Examples of a full step, of a set of so many.
    public func examplesPerStep(of examples: Int) -> Int { min(batchSize * accumulateSteps, examples) }

    /// Passes that a training on so many examples begins.
    public func epochs(examples: Int) -> Int {
        guard let steps else { return epochs }
        return max(1, (steps - 1) / max(1, stepsPerEpoch(examples: examples)) + 1)
    }

    /// Refuses settings with which no training makes sense.
    public func validate() throws(DeMLError) {
        for (name, value, range) in [
            ("epochs", epochs, 1...1_000_000), ("batch_size", batchSize, 1...10_000_000),
            ("accumulate_steps", accumulateSteps, 1...1_000_000), ("steps", steps ?? 1, 1...1_000_000_000),
        ] {
            guard range.contains(value) else {
                throw DeMLError(
                    .outOfRange, "\(name) \(value) is not between \(range.lowerBound) and \(range.upperBound)",
                    place: "options")
            }
        }
        guard steps == nil || epochs == 1 else {
            throw DeMLError(
                .usage, "steps \(steps ?? 0) and epochs \(epochs) cannot both say how long training is",
                place: "options")
        }
        guard labelSmoothing >= 0, labelSmoothing < 1 else {
            throw DeMLError(
                .outOfRange, "label_smoothing \(labelSmoothing) is not at least 0 and below 1", place: "options")
        }
        for (name, value) in [("clip_grad_norm", clipGradNorm ?? 1), ("proximal_mu", proximalMu)] {
            guard value >= 0, Float(value).isFinite else {
                throw DeMLError(.outOfRange, "\(name) \(value) is not a number of at least 0", place: "options")
            }
        }
        guard clipGradNorm != 0 else {
            throw DeMLError(.outOfRange, "clip_grad_norm 0 leaves nothing of a gradient", place: "options")
        }
        if let classWeights {
            guard (1...65_536).contains(classWeights.count) else {
                throw DeMLError(.outOfRange, "class_weights has \(classWeights.count) numbers", place: "options")
            }
            if let index = classWeights.firstIndex(where: { !($0 >= 0 && $0 <= 1e6) }) {
                throw DeMLError(
                    .outOfRange, "class_weights: \(classWeights[index]) of class \(index) is not between 0 and 1e6",
                    place: "options")
            }
            guard classWeights.contains(where: { Float($0) > 0 }) else {
                throw DeMLError(.outOfRange, "class_weights: no class has a weight above 0", place: "options")
            }
        }
        try augmentation?.validate()
        try optimizer.validate()
        try schedule.validate(base: optimizer.learningRate)
    }

    /// Refuses settings that do not go with a model, too.
    public func validate(for model: ModelDescription) throws(DeMLError) {
        try validate()
        guard labelSmoothing == 0 || model.loss == .crossEntropy else {
            throw DeMLError(
                .usage, "label_smoothing is an option of cross_entropy, not of \(model.loss.name)", place: "options")
        }
        if let classWeights {
            guard model.loss == .crossEntropy else {
                throw DeMLError(
                    .usage, "class_weights are an option of cross_entropy, not of \(model.loss.name)", place: "options")
            }
            guard classWeights.count == model.classes else {
                throw DeMLError(
                    .usage,
                    "class_weights has \(classWeights.count) numbers, but the model has \(model.classes) classes",
                    place: "options")
            }
        }
        if let augmentation, !augmentation.isEmpty, model.input.tokens != nil {
            throw DeMLError(
                .usage, "augmentation is for measurements and images, but the model takes tokens", place: "options")
        }
        try augmentation?.validate(inputShape: model.inputShape)
    }
}

extension TrainingOptions: Codable {
    private static let keys = [
        "epochs", "batch_size", "optimizer", "seed", "shuffle", "label_smoothing", "schedule", "clip_grad_norm",
        "accumulate_steps", "proximal_mu", "class_weights", "augmentation", "steps",
    ]

    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the training options", keys: Self.keys)
        let standard = TrainingOptions()
        self.init(
            epochs: try keys.optional("epochs", Int.self) ?? standard.epochs,
            batchSize: try keys.optional("batch_size", Int.self) ?? standard.batchSize,
            optimizer: try keys.optional("optimizer", OptimizerDescription.self) ?? standard.optimizer,
            seed: try keys.optional("seed", UInt64.self) ?? standard.seed,
            shuffle: try keys.optional("shuffle", Bool.self) ?? standard.shuffle,
            labelSmoothing: try keys.optional("label_smoothing", Double.self) ?? standard.labelSmoothing,
            schedule: try keys.optional("schedule", LearningRateSchedule.self) ?? standard.schedule,
            clipGradNorm: try keys.optional("clip_grad_norm", Double.self),
            accumulateSteps: try keys.optional("accumulate_steps", Int.self) ?? standard.accumulateSteps,
            proximalMu: try keys.optional("proximal_mu", Double.self) ?? standard.proximalMu,
            classWeights: try keys.optional("class_weights", [Double].self),
            augmentation: try keys.optional("augmentation", Augmentation.self),
            steps: try keys.optional("steps", Int.self))
        try validate()
    }

    /// The first six options are always written. Those that came later are where they say something: texts that were
    /// written before them stay the ones they were, to the byte.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(epochs, forKey: TextKey("epochs"))
        try container.encode(batchSize, forKey: TextKey("batch_size"))
        try container.encode(optimizer, forKey: TextKey("optimizer"))
        try container.encode(seed, forKey: TextKey("seed"))
        try container.encode(shuffle, forKey: TextKey("shuffle"))
        try container.encode(labelSmoothing, forKey: TextKey("label_smoothing"))
        if schedule != .constant { try container.encode(schedule, forKey: TextKey("schedule")) }
        try container.encodeIfPresent(clipGradNorm, forKey: TextKey("clip_grad_norm"))
        if accumulateSteps != 1 { try container.encode(accumulateSteps, forKey: TextKey("accumulate_steps")) }
        if proximalMu != 0 { try container.encode(proximalMu, forKey: TextKey("proximal_mu")) }
        try container.encodeIfPresent(classWeights, forKey: TextKey("class_weights"))
        if let augmentation, !augmentation.isEmpty {
            try container.encode(augmentation, forKey: TextKey("augmentation"))
        }
        try container.encodeIfPresent(steps, forKey: TextKey("steps"))
    }

    /// Reads the JSON text of options; what is left out has its default.
    public init(json: String) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(TrainingOptions.self, from: Data(json.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the training options")
        }
    }

    /// The one JSON text of these options: sorted keys, no white space.
    public var canonicalJSON: String { NeuralNetwork.canonicalJSON(self) }
}
