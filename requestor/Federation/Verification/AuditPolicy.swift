/// How many answers are recomputed at home (`audit`).
public enum AuditPolicy: Sendable, Equatable {
    /// As many as home can do while others train, drawn by chance, at least one a run; always those that look strange.
    case auto
    case off
    case all
    /// Each answer with this probability, above 0 and below 1; always those that look strange.
    case share(Double)

    /// What may be written for it, for messages.
    public static let expectation = "auto, off, all, or a share above 0 up to 1"

    /// As a person writes it.
    public init?(_ text: String) {
        switch text {
        case "auto": self = .auto
        case "off": self = .off
        case "all": self = .all
        default:
            guard let share = Double(text), let policy = AuditPolicy(share: share) else { return nil }
            self = policy
        }
    }

    init?(share: Double) {
        guard share >= 0, share <= 1 else { return nil }
        self = share == 0 ? .off : share == 1 ? .all : .share(share)
    }
}

extension AuditPolicy: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let policy: AuditPolicy?
        if let share = try? container.decode(Double.self) {
            policy = AuditPolicy(share: share)
        } else if let isOn = try? container.decode(Bool.self) {
            // YAML takes the word off for the value false.
            policy = isOn ? nil : .off
        } else {
            policy = AuditPolicy(try container.decode(String.self))
        }
        guard let policy else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "is to be \(Self.expectation)")
        }
        self = policy
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .auto: try container.encode("auto")
        case .off: try container.encode("off")
        case .all: try container.encode("all")
        case .share(let share): try container.encode(share)
        }
    }
}
