import Foundation

/// What stands under `golem:`: what may be rented, from whom, and for how much at most. What each means, and what holds
/// where nothing is said, is known where machines are rented; here the values have types, and numbers their ranges.
public struct GolemOptionSettings: SettingGroup {
    public var budget: Double?
    public var maxPricePerHour: Double?
    public var maxPricePerCPUHour: Double?
    public var maxStartPrice: Double?
    public var image: String?
    public var imageURL: String?
    public var imageHash: String?
    public var imageTag: String?
    public var subnet: String?
    public var network: String?
    public var driver: String?
    public var apiURL: String?
    public var appKey: String?
    public var minMemory: Double?
    public var minStorage: Double?
    public var minCores: Int?
    public var startTimeout: Double?
    public var minMachines: Int?
    public var registry: String?
    public var dataFolder: String?

    public init() {}

    /// The key of the section.
    static let key = "golem"

    static let settings: [Setting<Self>] = [
        number("budget", \Self.budget, NumberRange(0, 1e9, "GLM", includesLower: false)),
        number("max_price_per_hour", \Self.maxPricePerHour, .price),
        number("max_price_per_cpu_hour", \Self.maxPricePerCPUHour, .price),
        number("max_start_price", \Self.maxStartPrice, .price),
        text("image", \Self.image), text("image_url", \Self.imageURL), text("image_hash", \Self.imageHash),
        text("image_tag", \Self.imageTag), text("subnet", \Self.subnet), text("network", \Self.network),
        text("driver", \Self.driver), text("api_url", \Self.apiURL), text("app_key", \Self.appKey),
        number("min_memory", \Self.minMemory, NumberRange(0, 1e6, "GiB", includesLower: false)),
        number("min_storage", \Self.minStorage, NumberRange(0, 1e6, "GiB", includesLower: false)),
        Setting("min_cores", \Self.minCores, .free, .count(1...10_000, "cores"), isLenient: true),
        number("start_timeout", \Self.startTimeout, .seconds),
        Setting("min_machines", \Self.minMachines, .free, .count(1...10_000, "machines"), isLenient: true),
        text("registry", \Self.registry), text("data_folder", \Self.dataFolder),
    ]

    private static func number(
        _ key: String, _ path: WritableKeyPath<Self, Double?> & Sendable, _ range: NumberRange
    ) -> Setting<Self> { Setting(key, path, .free, range, isLenient: true) }

    /// A text; YAML may take what a person meant as one for a number.
    private static func text(_ key: String, _ path: WritableKeyPath<Self, String?> & Sendable) -> Setting<Self> {
        Setting(key, path, .free, "text") { try $0.decode(ScalarText.self, forKey: $1).text }
    }

    func rules() -> [ConfigurationProblem] { [] }

    /// Reads options as a person writes them, by key, on top of what is there.
    public mutating func take(_ texts: [String: String]) -> [ConfigurationProblem] {
        guard let data = try? JSONEncoder().encode(texts),
            let section = try? JSONDecoder().decode(Section.self, from: data)
        else { return [] }
        return takeSection(section.container)
    }

    /// A section as it stands in a file.
    private struct Section: Decodable {
        var container: KeyedDecodingContainer<AnyKey>

        init(from decoder: any Decoder) throws { container = try decoder.container(keyedBy: AnyKey.self) }
    }

    /// Takes a section and tells what is wrong with its keys and types, and with its values.
    mutating func takeSection(_ container: KeyedDecodingContainer<AnyKey>) -> [ConfigurationProblem] {
        var problems = unknownKeys(in: container, known: Self.settings.map(\.key))
        take(container, &problems)
        return problems.map { ConfigurationProblem("\(Self.key).\($0.key)", $0.message) }
    }

    /// Everything that is wrong with the values, under the names that stand in a YAML file.
    public func namedProblems() -> [ConfigurationProblem] {
        problems().map { ConfigurationProblem("\(Self.key).\($0.key)", $0.message) }
    }

    /// Every key, in the order of the table.
    public static var keys: [String] { settings.map(\.key) }
}

extension GolemOptionSettings: Codable {
    public init(from decoder: any Decoder) throws {
        self.init()
        let problems = takeSection(try decoder.container(keyedBy: AnyKey.self))
        guard problems.isEmpty else { throw ConfigurationError(problems) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: AnyKey.self)
        for setting in Self.settings where !setting.equal(self, Self()) { try setting.encode(self, &container) }
    }
}

/// A text, number or boolean, as the text a person wrote.
private struct ScalarText: Decodable {
    var text: String

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self.text = text
        } else if let whole = try? container.decode(Int.self) {
            text = "\(whole)"
        } else if let number = try? container.decode(Double.self) {
            text = "\(number)"
        } else {
            text = "\(try container.decode(Bool.self))"
        }
    }
}
