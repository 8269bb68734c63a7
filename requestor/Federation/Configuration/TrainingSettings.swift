import NeuralNetwork
import Tensors

/// How a client trains on its shard.
public struct TrainingSettings: SettingGroup {
    public var localEpochs = 5
    /// Optimiser steps of a round, in as many passes as they need, instead of `localEpochs`: DiLoCo's H (Douillard et al.,
    /// arXiv 2311.08105); `nil`: passes are counted.
    public var localSteps: Int?
    public var batchSize = 64
    public var optimizer = OptimizerName.adam
    public var learningRate = 0.001
    /// What the learning rate is multiplied by from one round to the next.
    public var learningRateDecay = 1.0
    /// SGD and RMSprop only.
    public var momentum = 0.0
    /// SGD only; needs a momentum.
    public var nesterov = false
    /// `nil`: 0, and 0.01 for AdamW.
    public var weightDecay: Double?
    /// Adam, AdamW and Lion only; `nil`: 0.9 and 0.999, Lion 0.9 and 0.99.
    public var beta1: Double?
    public var beta2: Double?
    /// Adam, AdamW and RMSprop only; `nil`: 1e-8.
    public var epsilon: Double?
    /// RMSprop only; `nil`: 0.99.
    public var alpha: Double?
    /// RMSprop only, without momentum.
    public var centered = false
    public var labelSmoothing = 0.0
    /// How much the examples of each class count: `balanced`, or a number for each; `nil`: all the same.
    public var classWeights: ClassWeights?
    /// How inputs are changed at random while training; `nil`: not at all.
    public var augmentation: Augmentation?
    /// The gradient of a step is scaled down to this norm where its own is larger; `nil`: never.
    public var clipGradNorm: Double?
    /// Batches whose gradients make one step.
    public var accumulateSteps = 1
    /// FedProx's µ: how strongly a client is held near the weights it was given; 0: not at all.
    public var proximalMu = 0.0
    /// How the learning rate goes within a client's training, from its first step to its last.
    public var schedule = LearningRateSchedule.constant
    /// How the learning rate goes from round to round: a schedule whose steps are rounds.
    public var roundSchedule = LearningRateSchedule.constant
    /// Whether a worker shuffles its shard in every epoch.
    public var shuffle = true
    /// A worker stops by itself after so many seconds and delivers what it has (results then depend on its speed).
    public var maxSeconds: Double?

    public init() {}

    /// By its name in a worker's options.
    public enum OptimizerName: String, Sendable, Codable, CaseIterable {
        case sgd, adam, adamw, rmsprop, lion
    }

    static let settings: [Setting<Self>] = [
        Setting("local_epochs", \Self.localEpochs, .fixed, .count(1...100_000, "epochs")),
        Setting("local_steps", \Self.localSteps, .fixed, .count(1...1_000_000_000, "steps")),
        Setting("batch_size", \Self.batchSize, .fixed, .count(1...1_000_000, "examples")),
        Setting("optimizer", \Self.optimizer, .fixed, "sgd, adam, adamw, rmsprop or lion"),
        Setting("learning_rate", \Self.learningRate, .fixed, .positive),
        Setting("learning_rate_decay", \Self.learningRateDecay, .fixed, .share),
        Setting("momentum", \Self.momentum, .fixed, .belowOne),
        Setting("nesterov", \Self.nesterov, .fixed, "true or false"),
        Setting("weight_decay", \Self.weightDecay, .fixed, NumberRange(0, 1e12)),
        Setting("beta1", \Self.beta1, .fixed, .belowOne),
        Setting("beta2", \Self.beta2, .fixed, .belowOne),
        Setting("epsilon", \Self.epsilon, .fixed, NumberRange(0, 1e12)),
        Setting("alpha", \Self.alpha, .fixed, .belowOne),
        Setting("centered", \Self.centered, .fixed, "true or false"),
        Setting("label_smoothing", \Self.labelSmoothing, .fixed, .belowOne),
        Setting(
            "class_weights", \Self.classWeights, .fixed, "'balanced' or a list with a number for each class"),
        Setting(
            "augmentation", \Self.augmentation, .fixed,
            "what is done to the inputs, {shift: 2, flip: true, noise: 0.05} for example"),
        Setting("clip_grad_norm", \Self.clipGradNorm, .fixed, .positive),
        Setting("accumulate_steps", \Self.accumulateSteps, .fixed, .count(1...1_000_000, "batches")),
        Setting("proximal_mu", \Self.proximalMu, .fixed, NumberRange(0, 1e12)),
        Setting("schedule", \Self.schedule, .fixed, "a schedule, {type: cosine, t_max: 100} for example"),
        Setting("round_schedule", \Self.roundSchedule, .fixed, "a schedule, {type: cosine, t_max: 100} for example"),
        Setting("shuffle", \Self.shuffle, .fixed, "true or false"),
        Setting("max_seconds", \Self.maxSeconds, .fixed, .seconds),
    ]

    func rules() -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if NumberRange.positive.contains(learningRate) {
            do throws(DeMLError) { try roundSchedule.validate(base: learningRate) } catch {
                problems.append(ConfigurationProblem("round_schedule", error.summary))
            }
        }
        let options = [
            ("momentum", "momentum", momentum != 0), ("nesterov", "nesterov", nesterov),
            ("beta1", "betas", beta1 != nil),
            ("beta2", "betas", beta2 != nil), ("epsilon", "epsilon", epsilon != nil), ("alpha", "alpha", alpha != nil),
            ("centered", "centered", centered),
        ]
        for (key, option, isSet) in options where isSet && !has(option) {
            let owners = OptimizerDescription.names(with: option)
            problems.append(
                ConfigurationProblem(
                    key,
                    "belongs to the optimizer\(owners.count > 1 ? "s" : "") \(owners.joined(separator: ", ")), not to \(optimizer.rawValue)"
                ))
        }
        if optimizer == .rmsprop, centered, momentum != 0 {
            problems.append(ConfigurationProblem("centered", "goes without a momentum"))
        }
        if optimizer == .sgd, nesterov, momentum == 0 {
            problems.append(ConfigurationProblem("nesterov", "needs a momentum above 0"))
        }
        if case .given(let numbers)? = classWeights, let wrong = numbers.first(where: { !($0 >= 0 && $0 <= 1e6) }) {
            problems.append(ConfigurationProblem("class_weights", "\(wrong) is not between 0 and 1000000"))
        }
        return problems
    }

    /// Whether the optimiser has an option.
    private func has(_ option: String) -> Bool {
        OptimizerDescription.names(with: option).contains(optimizer.rawValue)
    }

    /// The learning rate that a client begins a round with, counted from 1.
    func learningRate(round: Int) -> Double {
        var rate = roundSchedule.rate(learningRate, at: max(0, round - 1))
        // Multiplied step by step, as any reader would do it by hand; `pow` may differ from machine to machine.
        if learningRateDecay != 1 {
            for _ in 1..<max(1, round) { rate *= learningRateDecay }
        }
        return rate
    }

    /// Optimiser steps of a client with so many examples in a round.
    func steps(examples: Int) -> Int {
        TrainingOptions(
            epochs: localSteps == nil ? localEpochs : 1, batchSize: batchSize, accumulateSteps: accumulateSteps,
            steps: localSteps
        ).steps(examples: examples)
    }

    /// How a client trains in a round, without class weights: those depend on the data (``RunPlan``).
    public func options(round: Int, seed: UInt64) throws(DeMLError) -> TrainingOptions {
        let betas: (Double, Double)? =
            beta1 == nil && beta2 == nil ? nil : (beta1 ?? 0.9, beta2 ?? (optimizer == .lion ? 0.99 : 0.999))
        return TrainingOptions(
            epochs: localSteps == nil ? localEpochs : 1, batchSize: batchSize,
            optimizer: try OptimizerDescription(
                type: optimizer.rawValue, learningRate: learningRate(round: round),
                momentum: has("momentum") ? momentum : nil,
                nesterov: has("nesterov") ? nesterov : nil, betas: betas, epsilon: epsilon, weightDecay: weightDecay,
                alpha: alpha, centered: has("centered") && centered ? true : nil),
            seed: seed, shuffle: shuffle, labelSmoothing: labelSmoothing, schedule: schedule,
            clipGradNorm: clipGradNorm, accumulateSteps: accumulateSteps, proximalMu: proximalMu,
            augmentation: augmentation, steps: localSteps)
    }

    /// Passes that a round makes over the examples of a client, where `clients` of them have so many together.
    package func passes(clients: Int, examples: Int) -> Double {
        guard let localSteps else { return Double(localEpochs) }
        let ofOne = Double(max(1, examples)) / Double(max(1, clients))
        return Double(localSteps) * min(Double(batchSize) * Double(accumulateSteps), ofOne) / ofOne
    }
}
