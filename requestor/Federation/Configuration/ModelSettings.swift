import NeuralNetwork

/// What is trained.
public struct ModelSettings: SettingGroup {
    /// The model, or the path of a file that describes it (YAML, JSON, or a weights file).
    public var source: ModelSource?
    /// A weights file to start from instead of fresh weights.
    public var initialWeights: String?

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("model", \Self.source, .fixed, "a model description or the path of one"),
        Setting("initial_weights", \Self.initialWeights, .fixed, "text"),
    ]

    func rules() -> [ConfigurationProblem] {
        source == nil
            ? [ConfigurationProblem("model", "is missing: give a model description or the path of one")] : []
    }
}

/// A model description, or where to find one.
public enum ModelSource: Sendable, Equatable, Codable {
    case description(ModelDescription)
    /// To be read by the command before the run; a run itself needs the description.
    case path(String)

    public init(from decoder: any Decoder) throws {
        if let path = try? decoder.singleValueContainer().decode(String.self) {
            self = .path(path)
        } else {
            self = .description(try ModelDescription(from: decoder))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .description(let description): try description.encode(to: encoder)
        case .path(let path):
            var container = encoder.singleValueContainer()
            try container.encode(path)
        }
    }
}
