import CKernels
import Tensors

/// How parameters follow their gradients: one of torch's optimisers, with torch's names and defaults.
public struct OptimizerDescription: Sendable, Equatable {
    /// What an option says.
    public enum Value: Sendable, Equatable {
        case number(Double)
        case flag(Bool)
        case pair(Double, Double)
    }

    private var optimizer: any Optimizer

    init(_ optimizer: any Optimizer) {
        self.optimizer = optimizer
    }

    /// The name of the optimiser in a description.
    public var type: String { Swift.type(of: optimizer).type }

    public var learningRate: Double {
        get { optimizer.learningRate }
        set { optimizer.learningRate = newValue }
    }

    /// Every option but the type and the learning rate, by torch's names.
    public var values: [(key: String, value: Value)] { optimizer.values }

    /// The arrays that are kept for each parameter between steps, by torch's names; at most two, zeros at first.
    var stateNames: [String] { optimizer.stateNames }

    /// The kernels' form of these settings, before the first step.
    var kernel: deml_optimizer { optimizer.kernel }

    /// The optimiser of that name with torch's defaults, and what is given instead of them. An option that the
    /// optimiser does not have (momentum with adam) is refused.
    public init(
        type: String, learningRate: Double? = nil, momentum: Double? = nil, nesterov: Bool? = nil,
        betas: (Double, Double)? = nil, epsilon: Double? = nil, weightDecay: Double? = nil, alpha: Double? = nil,
        centered: Bool? = nil
    ) throws(DeMLError) {
        var given: [String: any Sendable] = [:]
        given["momentum"] = momentum
        given["nesterov"] = nesterov
        given["betas"] = betas.map { [$0.0, $0.1] }
        given["epsilon"] = epsilon
        given["weight_decay"] = weightDecay
        given["alpha"] = alpha
        given["centered"] = centered
        try self.init(type: type, learningRate: learningRate, OptimizerOptions(given))
    }

    private init(type: String, learningRate: Double?, _ given: OptimizerOptions) throws(DeMLError) {
        guard let kind = Self.registry.first(where: { $0.type == type }) else {
            throw DeMLError(
                .usage, "the optimizer \(type.quotedForMessage) is unknown", place: "optimizer",
                hint: "known: \(Self.names.joined(separator: ", "))")
        }
        for key in Self.options where !kind.options.contains(key) { try given.refuse(key, of: type) }
        optimizer = try kind.init(learningRate: learningRate ?? kind.standardLearningRate, given)
        try validate()
    }

    /// The names of all optimisers.
    package static let names = registry.map { $0.type }

    /// The names of the optimisers that have an option.
    package static func names(with option: String) -> [String] {
        registry.filter { $0.options.contains(option) }.map { $0.type }
    }

    /// The keys of all optimisers' options.
    private static var options: [String] {
        registry.reduce(into: []) { all, kind in all += kind.options.filter { !all.contains($0) } }
    }

    /// Refuses settings that torch refuses, and those that single precision cannot hold.
    public func validate() throws(DeMLError) {
        try optimizer.validate()
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.optimizer.isEqual(to: right.optimizer)
    }
}

extension OptimizerDescription: Codable {
    public init(from decoder: any Decoder) throws {
        let subject = "the optimizer"
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            self = try OptimizerDescription(type: name)
            return
        }
        let mapping = try StrictContainer(decoder, subject, keys: ["type", "learning_rate"] + Self.options)
        try self.init(
            type: try mapping.required("type", String.self),
            learningRate: try mapping.optional("learning_rate", Double.self), OptimizerOptions(mapping))
    }

    /// Every option is written, so that the text says what was done without knowing the defaults.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(type, forKey: TextKey("type"))
        try container.encode(learningRate, forKey: TextKey("learning_rate"))
        for (key, value) in values {
            switch value {
            case .number(let number): try container.encode(number, forKey: TextKey(key))
            case .flag(let flag): try container.encode(flag, forKey: TextKey(key))
            case .pair(let first, let second): try container.encode([first, second], forKey: TextKey(key))
            }
        }
    }
}
