import CKernels
import Tensors

extension ModelDescription {
    /// What a model's outputs are compared with their targets by, with torch's names and defaults; all are means. Written
    /// as its name, or as a mapping where it has an option: `{type: huber, delta: 0.5}`.
    public enum Loss: Sendable, Equatable {
        /// Softmax and negative log-likelihood of the class, averaged over examples; of outputs [tokens, classes] over the
        /// tokens of all examples, without those whose label is torch's `ignore_index`, -100.
        case crossEntropy
        /// Squared difference, averaged over examples and outputs.
        case meanSquaredError
        /// Cross entropy of sigmoid(output) with a target in 0 ... 1, averaged over examples and outputs: each output is a
        /// yes or no of its own (torch's `BCEWithLogitsLoss`).
        case binaryCrossEntropy
        /// Absolute difference, averaged over examples and outputs.
        case absoluteError
        /// Half the squared difference d where |d| < delta, else delta·(|d| - delta/2), averaged over examples and
        /// outputs. Huber, "Robust estimation of a location parameter", 1964.
        case huber(delta: Double = 1)

        /// The name in a description.
        public var name: String {
            switch self {
            case .crossEntropy: "cross_entropy"
            case .meanSquaredError: "mse"
            case .binaryCrossEntropy: "bce_with_logits"
            case .absoluteError: "l1"
            case .huber: "huber"
            }
        }

        /// With the default options.
        static let all: [Loss] = [.crossEntropy, .meanSquaredError, .binaryCrossEntropy, .absoluteError, .huber()]

        /// How the kernels compare numbers with numbers; nil for classes.
        var kernel: (loss: deml_output_loss, delta: Float)? {
            switch self {
            case .crossEntropy: nil
            case .meanSquaredError: (DEML_SQUARED_ERROR, 0)
            case .binaryCrossEntropy: (DEML_BINARY_CROSS_ENTROPY, 0)
            case .absoluteError: (DEML_ABSOLUTE_ERROR, 0)
            case .huber(let delta): (DEML_HUBER, Float(delta))
            }
        }

        func validate() throws(DeMLError) {
            guard case .huber(let delta) = self else { return }
            guard delta > 0, Float(delta) > 0, Float(delta).isFinite else {
                throw DeMLError(.outOfRange, "delta \(delta) is not a positive number", place: "loss")
            }
        }
    }
}

extension ModelDescription.Loss: Codable {
    public init(from decoder: any Decoder) throws {
        if let name = try? decoder.singleValueContainer().decode(String.self) {
            self = try Self.named(name)
            return
        }
        let keys = try StrictContainer(decoder, "the loss", keys: ["type", "delta", "ignore_index"])
        self = try Self.named(try keys.required("type", String.self))
        if keys.has("ignore_index") {
            guard self == .crossEntropy else {
                throw keys.error(
                    .outOfRange, "the loss \(name) has no option ignore_index", hint: "cross_entropy has one")
            }
            try keys.demand("ignore_index", ModelDescription.ignoredLabel)
        }
        guard let delta = try keys.optional("delta", Double.self) else { return }
        guard case .huber = self else {
            throw keys.error(.outOfRange, "the loss \(name) has no option delta", hint: "huber has one")
        }
        self = .huber(delta: delta)
    }

    private static func named(_ name: String) throws(DeMLError) -> Self {
        guard let loss = all.first(where: { $0.name == name }) else {
            throw DeMLError(
                .outOfRange, "the loss \(name.quotedForMessage) is unknown", place: "loss",
                hint: "known: \(all.map(\.name).joined(separator: ", "))")
        }
        return loss
    }

    public func encode(to encoder: any Encoder) throws {
        if case .huber(let delta) = self, delta != 1 {
            var mapping = encoder.container(keyedBy: TextKey.self)
            try mapping.encode(name, forKey: TextKey("type"))
            try mapping.encode(delta, forKey: TextKey("delta"))
        } else {
            var single = encoder.singleValueContainer()
            try single.encode(name)
        }
    }
}
