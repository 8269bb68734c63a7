import NeuralNetwork

/// What is trained; without a model one is chosen for the data.
public struct ModelSettings: SettingGroup {
    /// The model, or the path of a file that describes it (YAML, JSON, a weights file, ONNX, `.pt2`, Keras).
    public var source: ModelSource?
    /// A weights file to start from instead of fresh weights.
    public var initialWeights: String?
    /// A weights file or a run folder (its best model) to go on from: its model, from its weights, with data read by its schema.
    /// A run itself has model and `initialWeights` beside it, and here the weights file.
    public var continueFrom: String?

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("model", \Self.source, .fixed, "a model description or the path of one"),
        Setting("initial_weights", \Self.initialWeights, .fixed, "text"),
        Setting("continue_from", \Self.continueFrom, .fixed, "text"),
    ]

    func rules() -> [ConfigurationProblem] {
        continueFrom != nil && initialWeights != nil && continueFrom != initialWeights
            ? [ConfigurationProblem("continue_from", "has weights of its own: leave out initial_weights")] : []
    }
}

/// A model description, or where to find one.
public enum ModelSource: Sendable, Equatable, Codable {
    case description(ModelDescription)
    /// A description that leaves out what the data says.
    case outline(ModelOutline)
    /// To be read by the command before the run; a run itself needs the description.
    case path(String)

    public init(from decoder: any Decoder) throws {
        if let path = try? decoder.singleValueContainer().decode(String.self) {
            self = .path(path)
        } else {
            // What is whole is read as it always was, with its errors.
            let outline = try? ModelOutline(from: decoder)
            if let outline, !outline.isWhole {
                self = .outline(outline)
            } else {
                self = .description(try ModelDescription(from: decoder))
            }
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .description(let description): try description.encode(to: encoder)
        case .outline(let outline): try outline.encode(to: encoder)
        case .path(let path):
            var container = encoder.singleValueContainer()
            try container.encode(path)
        }
    }
}
