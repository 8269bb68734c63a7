import Tensors

/// How parameters follow their gradients: torch's optimisers, with torch's names and defaults.
public enum OptimizerDescription: Sendable, Equatable {
    /// g ← gradient + weightDecay·p; v ← momentum·v + g (v = g at the first step); p ← p - learningRate·v, with
    /// Nesterov p ← p - learningRate·(g + momentum·v). Sutskever et al., "On the importance of initialization and
    /// momentum in deep learning", 2013, in torch's form.
    case sgd(learningRate: Double = 1e-3, momentum: Double = 0, nesterov: Bool = false, weightDecay: Double = 0)
    /// Kingma and Ba, "Adam: a method for stochastic optimization", 2015; weightDecay·p is added to the gradient.
    case adam(
        learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8,
        weightDecay: Double = 0)
    /// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019: p ← p·(1 - learningRate·weightDecay)
    /// before Adam's step.
    case adamw(
        learningRate: Double = 1e-3, betas: (Double, Double) = (0.9, 0.999), epsilon: Double = 1e-8,
        weightDecay: Double = 1e-2)

    /// `sgd`, `adam` or `adamw`.
    public var type: String {
        switch self {
        case .sgd: "sgd"
        case .adam: "adam"
        case .adamw: "adamw"
        }
    }

    public var learningRate: Double {
        get {
            switch self {
            case .sgd(let rate, _, _, _), .adam(let rate, _, _, _), .adamw(let rate, _, _, _): rate
            }
        }
        set {
            switch self {
            case .sgd(_, let momentum, let nesterov, let decay):
                self = .sgd(learningRate: newValue, momentum: momentum, nesterov: nesterov, weightDecay: decay)
            case .adam(_, let betas, let epsilon, let decay):
                self = .adam(learningRate: newValue, betas: betas, epsilon: epsilon, weightDecay: decay)
            case .adamw(_, let betas, let epsilon, let decay):
                self = .adamw(learningRate: newValue, betas: betas, epsilon: epsilon, weightDecay: decay)
            }
        }
    }

    /// The optimiser of that name with torch's defaults, and what is given instead of them. An option that the
    /// optimiser does not have (momentum with adam) is refused.
    public init(
        type: String, learningRate: Double? = nil, momentum: Double? = nil, nesterov: Bool? = nil,
        betas: (Double, Double)? = nil, epsilon: Double? = nil, weightDecay: Double? = nil
    ) throws(DeMLError) {
        func refuse(_ options: [(String, Bool)]) throws(DeMLError) {
            for (name, isGiven) in options where isGiven {
                throw DeMLError(.usage, "the optimizer \(type) has no \(name)", place: "optimizer")
            }
        }
        let rate = learningRate ?? 1e-3
        switch type {
        case "sgd":
            try refuse([("betas", betas != nil), ("epsilon", epsilon != nil)])
            self = .sgd(
                learningRate: rate, momentum: momentum ?? 0, nesterov: nesterov ?? false, weightDecay: weightDecay ?? 0)
        case "adam", "adamw":
            try refuse([("momentum", (momentum ?? 0) != 0), ("nesterov", nesterov ?? false)])
            let betas = betas ?? (0.9, 0.999)
            let epsilon = epsilon ?? 1e-8
            self =
                type == "adam"
                ? .adam(learningRate: rate, betas: betas, epsilon: epsilon, weightDecay: weightDecay ?? 0)
                : .adamw(learningRate: rate, betas: betas, epsilon: epsilon, weightDecay: weightDecay ?? 1e-2)
        default:
            throw DeMLError(
                .usage, "the optimizer \(type.quotedForMessage) is unknown", place: "optimizer",
                hint: "known: sgd, adam, adamw")
        }
        try validate()
    }

    /// Refuses settings that torch refuses, and those that single precision cannot hold.
    public func validate() throws(DeMLError) {
        func check(_ name: String, _ value: Double, _ isValid: Bool) throws(DeMLError) {
            guard isValid, Float(value).isFinite else {
                throw DeMLError(.outOfRange, "\(name) \(value) is out of range", place: "optimizer")
            }
        }
        switch self {
        case .sgd(let rate, let momentum, let nesterov, let decay):
            try check("learning_rate", rate, rate >= 0)
            try check("momentum", momentum, momentum >= 0)
            try check("weight_decay", decay, decay >= 0)
            guard !nesterov || momentum > 0 else {
                throw DeMLError(.usage, "nesterov needs a momentum above 0", place: "optimizer")
            }
        case .adam(let rate, let betas, let epsilon, let decay), .adamw(let rate, let betas, let epsilon, let decay):
            try check("learning_rate", rate, rate >= 0)
            try check("betas", betas.0, betas.0 >= 0 && Float(betas.0) < 1)
            try check("betas", betas.1, betas.1 >= 0 && Float(betas.1) < 1)
            try check("epsilon", epsilon, epsilon >= 0)
            try check("weight_decay", decay, decay >= 0)
        }
    }

    public static func == (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.sgd(let a, let b, let c, let d), .sgd(let e, let f, let g, let h)): (a, b, c, d) == (e, f, g, h)
        case (.adam(let a, let b, let c, let d), .adam(let e, let f, let g, let h)),
            (.adamw(let a, let b, let c, let d), .adamw(let e, let f, let g, let h)):
            a == e && b == f && c == g && d == h
        default: false
        }
    }
}

extension OptimizerDescription: Codable {
    public init(from decoder: any Decoder) throws {
        let subject = "the optimizer"
        let type: String
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            self = try OptimizerDescription(type: name)
            return
        }
        type = try StrictContainer(decoder, subject, keys: nil).required("type", String.self)
        let keys = try StrictContainer(
            decoder, subject,
            keys: ["type", "learning_rate", "momentum", "nesterov", "betas", "epsilon", "weight_decay"])
        let betas = try keys.optional("betas", [Double].self)
        guard betas == nil || betas?.count == 2 else { throw keys.error(.malformed, "betas are two numbers") }
        try self.init(
            type: type, learningRate: try keys.optional("learning_rate", Double.self),
            momentum: try keys.optional("momentum", Double.self), nesterov: try keys.optional("nesterov", Bool.self),
            betas: betas.map { ($0[0], $0[1]) }, epsilon: try keys.optional("epsilon", Double.self),
            weightDecay: try keys.optional("weight_decay", Double.self))
    }

    /// Every option is written, so that the text says what was done without knowing the defaults.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(type, forKey: TextKey("type"))
        try container.encode(learningRate, forKey: TextKey("learning_rate"))
        switch self {
        case .sgd(_, let momentum, let nesterov, let weightDecay):
            try container.encode(momentum, forKey: TextKey("momentum"))
            try container.encode(nesterov, forKey: TextKey("nesterov"))
            try container.encode(weightDecay, forKey: TextKey("weight_decay"))
        case .adam(_, let betas, let epsilon, let weightDecay), .adamw(_, let betas, let epsilon, let weightDecay):
            try container.encode([betas.0, betas.1], forKey: TextKey("betas"))
            try container.encode(epsilon, forKey: TextKey("epsilon"))
            try container.encode(weightDecay, forKey: TextKey("weight_decay"))
        }
    }
}
