import Federation
import Foundation
import GolemFleet
import Tensors

/// What is on the Golem market, as seen by a run that is thought of.
public struct OffersRequest: Sendable {
    /// Settings of Golem, by their keys under `golem:` of a YAML file.
    public var golem: [String: String]
    /// Seconds to listen.
    public var marketTime: Double
    /// Stop listening when so many usable offers were seen.
    public var enough: Int?
    /// Machines of the run whose cost is asked, and its hours; else those of `like`, else 3 and 1.
    public var machines: Int?
    public var hours: Double?
    /// A finished run that the one asked about is like.
    public var like: String?

    public init(
        golem: [String: String] = [:], marketTime: Double = 60, enough: Int? = nil, machines: Int? = nil,
        hours: Double? = nil, like: String? = nil
    ) {
        self.golem = golem
        self.marketTime = marketTime
        self.enough = enough
        self.machines = machines
        self.hours = hours
        self.like = like
    }
}

public struct OffersAnswer: Sendable, Encodable {
    public var survey: MarketSurvey
    public var settings: GolemSettings
    public var machines: Int
    public var hours: Double
    /// GLM that the run is likely to cost; absent where nobody is there to ask.
    public var expected: Double?
    /// GLM that it costs at the very most, by the limits.
    public var worst: Double

    enum CodingKeys: String, CodingKey {
        case offers, steps, machines, hours
        case expected = "expected_glm"
        case worst = "worst_case_glm"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(survey.offers, forKey: .offers)
        try container.encode(survey.steps, forKey: .steps)
        try container.encode(machines, forKey: .machines)
        try container.encode(hours, forKey: .hours)
        try container.encodeIfPresent(expected, forKey: .expected)
        try container.encode(worst, forKey: .worst)
    }
}

extension Application {
    /// Listens to the market: what is offered, what a run could take of it, and what that would cost.
    /// - Parameter progress: told about every second what is there so far.
    public func offers(
        _ request: OffersRequest, progress: @Sendable (MarketSurvey.Progress) -> Void = { _ in }
    ) async throws -> OffersAnswer {
        var (machines, hours) = (request.machines ?? 3, request.hours ?? 1)
        var settingsOfRun = GolemOptionSettings()
        if let like = request.like {
            let folder = RunFolder(path: paths.resolved(like))
            let configuration = try folder.readConfiguration()
            settingsOfRun = configuration.golem
            machines = request.machines ?? configuration.clientsPerRound
            hours = try request.hours ?? (folder.readSummary().seconds / 3600)
        }
        let settings = try golemSettings(request.golem, besides: settingsOfRun)
        let survey = try await GolemMarket(settings: settings, environment: environment).survey(
            for: .seconds(request.marketTime), enough: request.enough ?? .max, progress: progress)
        return OffersAnswer(
            survey: survey, settings: settings, machines: machines, hours: hours,
            expected: survey.expectedCost(machines: machines, hours: hours),
            worst: settings.worstCase(machines: machines, hours: hours))
    }

    /// What runs on Golem have cost: every agreement, what was billed, accepted and settled.
    ///
    /// - Parameter runs: run folders; none: every run there is a ledger of.
    public func payments(of runs: [String] = [], golem: [String: String] = [:]) async throws -> [PaymentBook.Page] {
        let settings = try golemSettings(golem)
        let folders = runs.map { paths.resolved($0) }
        for folder in folders where !Files.isDirectory(folder) {
            throw DeMLError(.notFound, "there is no such run", place: paths.shown(folder))
        }
        return try await PaymentBook(settings: settings, environment: environment).pages(of: folders)
    }

    /// Looks at everything that renting needs. Spends nothing.
    ///
    /// - Parameters:
    ///   - marketTime: seconds to wait for offers.
    ///   - tell: each finding, as soon as it is known.
    public func doctor(
        golem: [String: String] = [:], marketTime: Double = 60, _ tell: @escaping @Sendable (Doctor.Finding) -> Void
    ) async {
        let (settings, problems) = readGolemSettings(golem)
        await Doctor(settings: settings, problems: problems, marketTime: .seconds(marketTime)).examine(tell)
    }

    /// Settings by options alone. Options win over `other`, the settings of a run.
    func golemSettings(
        _ options: [String: String], besides other: GolemOptionSettings = GolemOptionSettings()
    ) throws(DeMLError) -> GolemSettings {
        let (settings, problems) = readGolemSettings(options, besides: other)
        guard problems.isEmpty else { throw DeMLError(.usage, problems.joined(separator: "\n")) }
        return settings
    }

    /// Reads options and the environment, over `other`.
    private func readGolemSettings(
        _ options: [String: String], besides other: GolemOptionSettings = GolemOptionSettings()
    ) -> (settings: GolemSettings, problems: [String]) {
        var (options, merged) = (options, other)
        if let image = options["image"] { options["image"] = paths.resolved(image) }
        let wrong = merged.take(options)
        let (settings, problems) = readGolemSettings(merged)
        return (settings, wrong.map(\.description) + problems)
    }

    /// What a run with this configuration may rent, and what is wrong with that.
    public func golemSettings(of configuration: RunConfiguration) -> (settings: GolemSettings, problems: [String]) {
        readGolemSettings(configuration.golem)
    }

    /// What is remembered of providers, the newest first.
    public func providers(golem: [String: String] = [:]) throws -> [ProviderMemory.Record] {
        let path = try golemSettings(golem).dataFolder(environment: environment) + "/providers.sqlite"
        return Files.exists(path) ? try ProviderMemory(path: path).records(at: Date()) : []
    }

    /// Without an image the one that `make image` leaves is taken, if there.
    func readGolemSettings(_ options: GolemOptionSettings) -> (settings: GolemSettings, problems: [String]) {
        var (settings, problems) = GolemSettings.read(options, environment: environment)
        if settings.image == nil, !problems.contains(where: { $0.contains("image") }) {
            settings.image = paths.shipped("provider-image/deml-worker.gvmi").map { .file($0) }
        }
        return (settings, problems)
    }
}
