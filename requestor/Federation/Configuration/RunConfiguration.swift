import Foundation
import Tensors

/// Everything `deml train` can be told, in groups of what belongs together.
///
/// In YAML files and in `config.json` it is one flat list; a key is the command's option with `_` for `-`
/// (`--local-epochs`, `local_epochs`). Every key may be left out; what it is then stands in its group. ``problems()``
/// reports everything that is wrong with the values at once, and decoding does the same for keys and types (see
/// ``RunConfigurationFile``).
public struct RunConfiguration: Sendable, Equatable {
    public var data = DataSettings()
    public var model = ModelSettings()
    public var federation = FederationSettings()
    public var limits = LimitSettings()
    public var training = TrainingSettings()
    public var averaging = AveragingSettings()
    public var verification = VerificationSettings()
    public var machines = MachineSettings()
    /// What stands under `golem:`.
    public var golem = GolemOptionSettings()
    public var output = OutputSettings()

    public init() {}

    /// The groups, in the order in which they are written and documented; all but the nested one.
    static let groups: [AnySettingGroup] = [
        AnySettingGroup(\.data), AnySettingGroup(\.model), AnySettingGroup(\.federation), AnySettingGroup(\.limits),
        AnySettingGroup(\.training), AnySettingGroup(\.averaging), AnySettingGroup(\.verification),
        AnySettingGroup(\.machines), AnySettingGroup(\.output),
    ]

    /// Everything that is wrong with the values, in the order of the settings; empty when a run can start.
    public func problems() -> [ConfigurationProblem] {
        Self.groups.flatMap { $0.problems(self) } + golem.namedProblems()
    }

    /// Passes over an example that so many rounds make on average, at least one: what the comparison trains for.
    /// - Parameter examples: of all clients.
    public func passes(rounds: Int, examples: Int) -> Int {
        let share = Double(federation.clientsPerRound) / Double(max(1, federation.workers))
        let ofRound = training.passes(clients: federation.workers, examples: examples)
        return max(1, Int(exactly: (Double(rounds) * ofRound * share).rounded()) ?? .max)
    }

    // MARK: What a resume may change

    /// A setting of a run that differs from what the run was started with, and must not.
    public struct Difference: Sendable, Equatable, CustomStringConvertible {
        public var key: String
        public var was: String
        public var now: String

        public var description: String { "\(key): was \(was), now \(now)" }
    }

    /// Settings that decide what comes out of a run and differ between `self`, the run as it was started, and `resumed`.
    /// What only decides where, how fast and how patiently it is done may change; `rounds` may grow.
    public func differences(resumed: RunConfiguration) -> [Difference] {
        Self.groups.flatMap { $0.differences(self, resumed, { !$0 }) }
    }

    /// All differing settings, for a table that compares runs.
    public func allDifferences(to other: RunConfiguration) -> [Difference] {
        Self.groups.flatMap { $0.differences(self, other, { _ in true }) }
            + golem.differences(from: other.golem)
    }

    /// SHA-256 over the settings that decide what comes out of a run: those that a resume must not change, where they are
    /// not at their defaults.
    public var fixedSettingsSHA256: String {
        sha256Hex(Self.groups.flatMap { $0.fixedTexts(self) }.joined().utf8)
    }

    /// The key of every setting, but those under `golem:`.
    public static var keys: [String] { groups.flatMap(\.keys) }

    /// The range of every number, by key.
    public static var numberRanges: [(key: String, range: NumberRange)] {
        groups.flatMap(\.ranges)
            + GolemOptionSettings.settings.compactMap { setting in
                setting.range.map { ("\(GolemOptionSettings.key).\(setting.key)", $0) }
            }
    }
}

extension RunConfiguration {
    public var clientsPerRound: Int { federation.clientsPerRound }
}

extension GolemOptionSettings {
    fileprivate func differences(from other: Self) -> [RunConfiguration.Difference] {
        Self.settings.filter { !$0.equal(self, other) }
            .map { .init(key: "\(Self.key).\($0.key)", was: $0.text(self), now: $0.text(other)) }
    }
}

/// A group of a configuration, whatever its type.
struct AnySettingGroup: Sendable {
    let keys: [String]
    let ranges: [(key: String, range: NumberRange)]
    let problems: @Sendable (RunConfiguration) -> [ConfigurationProblem]
    let take:
        @Sendable (
            inout RunConfiguration, KeyedDecodingContainer<AnyKey>, inout [ConfigurationProblem]
        ) -> Void
    let write: @Sendable (RunConfiguration, inout KeyedEncodingContainer<AnyKey>) throws -> Void
    /// Settings that differ; the filter is told whether a resume may change them so.
    let differences:
        @Sendable (
            _ was: RunConfiguration, _ now: RunConfiguration, _ isWanted: (_ mayChange: Bool) -> Bool
        ) -> [RunConfiguration.Difference]
    let fixedTexts: @Sendable (RunConfiguration) -> [String]

    init<Group: SettingGroup>(_ path: WritableKeyPath<RunConfiguration, Group> & Sendable) {
        keys = Group.settings.map(\.key)
        ranges = Group.settings.compactMap { setting in setting.range.map { (setting.key, $0) } }
        problems = { $0[keyPath: path].problems() }
        take = { configuration, container, problems in
            configuration[keyPath: path].take(container, &problems)
        }
        write = { try $0[keyPath: path].write(to: &$1) }
        differences = { was, now, isWanted in
            let (was, now) = (was[keyPath: path], now[keyPath: path])
            return Group.settings.filter { !$0.equal(was, now) && isWanted($0.mayChange(from: was, to: now)) }
                .map { .init(key: $0.key, was: $0.text(was), now: $0.text(now)) }
        }
        fixedTexts = { configuration in
            let group = configuration[keyPath: path]
            return Group.settings.filter { $0.resume == .fixed && !$0.equal(group, Group()) }
                .map { "\($0.key)=\($0.text(group))\n" }
        }
    }
}

/// A configuration as read from a file, with everything that is wrong with its keys and types. Decoding it does not throw
/// for such mistakes, so that they can be reported together with those that ``RunConfiguration/problems()`` finds.
public struct RunConfigurationFile: Decodable, Sendable {
    public var configuration: RunConfiguration
    public var problems: [ConfigurationProblem]

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: AnyKey.self)
        var configuration = RunConfiguration()
        let section = AnyKey(GolemOptionSettings.key)
        var problems = unknownKeys(
            in: container, known: RunConfiguration.groups.flatMap(\.keys) + [section.stringValue])
        for group in RunConfiguration.groups { group.take(&configuration, container, &problems) }
        if container.contains(section), (try? container.decodeNil(forKey: section)) != true {
            do {
                problems += configuration.golem.takeSection(
                    try container.nestedContainer(keyedBy: AnyKey.self, forKey: section))
            } catch {
                problems.append(ConfigurationProblem(section.stringValue, "is to be names and values"))
            }
        }
        self.configuration = configuration
        self.problems = problems
    }
}

extension RunConfiguration: Codable {
    public init(from decoder: any Decoder) throws {
        let file = try RunConfigurationFile(from: decoder)
        guard file.problems.isEmpty else { throw ConfigurationError(file.problems) }
        self = file.configuration
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: AnyKey.self)
        for group in Self.groups { try group.write(self, &container) }
        try container.encode(golem, forKey: AnyKey(GolemOptionSettings.key))
    }
}
