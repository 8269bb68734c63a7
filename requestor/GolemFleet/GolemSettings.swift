import Federation
import Golem
import Tensors

/// What `deml train --on golem` may rent, from whom, and for how much at most.
///
/// Made from the `golem:` keys of a run's configuration (the options' names with `_` for `-`) and from the variables that
/// other Golem programs honour: `YAGNA_APPKEY`, `YAGNA_API_URL`, `YAGNA_SUBNET`, `YAGNA_PAYMENT_NETWORK`. A key wins over
/// a variable, a variable over the default.
public struct GolemSettings: Sendable, Equatable {
    /// Where the daemon listens; absent where what was given is no address.
    public var apiURL: DaemonAddress? = .standard
    /// Absent means that nobody gave one: nothing can be rented then.
    public var appKey: String?
    public var subnet = "public"
    public var network = "hoodi"
    public var driver = "erc20"
    /// Where providers get the worker from; absent: not given.
    public var image: ImageSource?
    /// What the run may cost in all. The sum of everything that is ever accepted stays below.
    public var budget: Amount = 5
    /// The most that a provider may ask: GLM an hour with every core busy, GLM for an hour of one busy core, GLM once.
    public var priceLimits = PriceLimits.standard
    /// What a machine must have at least.
    public var minimumMemoryGiB = 0.5
    public var minimumStorageGiB = 1.0
    public var minimumCores = 1
    /// How many seconds the first machine may take to appear before the run gives up.
    public var startTimeout = 120.0
    /// The run begins when so many machines are there; `nil`: with the first one.
    public var minimumMachines: Int?
    /// Where the image registry answers.
    public var registry = ImageRegistry.golem
    /// Where DeML keeps what it remembers of providers and payments; `nil`: the user's data folder.
    public var dataFolder: String?

    public init() {}

    /// `erc20-hoodi-tglm`: how the daemon names driver, network and token in one word. The token is GLM on the networks
    /// where it is worth money and tGLM on the others.
    public var platform: String { RentalPlan.paymentPlatform(driver: driver, network: network) }

    /// True where GLM is worth money.
    public var isMainnet: Bool { !platform.hasSuffix("tglm") }

    /// GLM that `machines` cost in `hours` when each asks the most that is allowed; never above the budget, which ends the
    /// run before it is passed.
    public func worstCase(machines: Int, hours: Double) -> Double {
        min(budget.glm, Double(machines) * ((priceLimits.start ?? 0) + hours * (priceLimits.perHour ?? .infinity)))
    }

    /// A client of the daemon.
    /// - Throws: `usage` where the key is missing, or the address is none.
    func client() throws(DeMLError) -> GolemClient {
        guard let apiURL else {
            throw DeMLError(.usage, "what was given as the daemon's address is none", hint: "`deml doctor` says more")
        }
        guard let appKey else {
            throw DeMLError(
                .usage, "no app-key of the yagna daemon was given", hint: "\(Doctor.makeKey), then `deml doctor`")
        }
        return GolemClient(address: apiURL, appKey: appKey)
    }

    /// What a run with so many machines may come to, in two lines: said before anything is spent.
    public func costNotice(machines: Int) -> [String] {
        func text(_ value: Double?) -> String { value.map(shortText) ?? "any price" }
        let unit = isMainnet ? "GLM" : "tGLM (test money)"
        return [
            "budget \(budget) \(unit) on \(network): the run ends before more than that is promised to anybody",
            "worst case \(text(worstCase(machines: machines, hours: 1))) in the first hour: \(machines) machines at up to "
                + "\(text(priceLimits.perHour)) an hour, \(text(priceLimits.perCPUHour)) a CPU hour, "
                + "\(text(priceLimits.start)) at the start",
        ]
    }
}

extension GolemSettings {
    /// What an offer must be for a run with these settings.
    var offerPolicy: OfferPolicy {
        OfferPolicy(
            subnet: subnet, paymentPlatform: platform, minimumMemoryGiB: minimumMemoryGiB,
            minimumStorageGiB: minimumStorageGiB, minimumCores: minimumCores, priceLimits: priceLimits)
    }
}

extension GolemSettings {
    /// Reads what stands under `golem:`, and the environment. All that is wrong is reported together, each in one
    /// sentence.
    public static func read(
        _ options: GolemOptionSettings, environment: [String: String]
    ) -> (settings: GolemSettings, problems: [String]) {
        var settings = GolemSettings()
        var problems = options.namedProblems().map(\.description)
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }

        settings.appKey = variable("YAGNA_APPKEY")
        settings.subnet = variable("YAGNA_SUBNET") ?? settings.subnet
        settings.network = variable("YAGNA_PAYMENT_NETWORK") ?? settings.network
        settings.driver = variable("YAGNA_PAYMENT_DRIVER") ?? settings.driver
        settings.registry = variable("REGISTRY_URL") ?? settings.registry
        settings.dataFolder = variable("DEML_GOLEM_DATA")

        if let budget = options.budget, budget > 0, let amount = Amount(glm: budget) { settings.budget = amount }
        settings.priceLimits.perHour = options.maxPricePerHour ?? settings.priceLimits.perHour
        settings.priceLimits.perCPUHour = options.maxPricePerCPUHour ?? settings.priceLimits.perCPUHour
        settings.priceLimits.start = options.maxStartPrice ?? settings.priceLimits.start
        settings.minimumMemoryGiB = options.minMemory ?? settings.minimumMemoryGiB
        settings.minimumStorageGiB = options.minStorage ?? settings.minimumStorageGiB
        settings.minimumCores = options.minCores ?? settings.minimumCores
        settings.startTimeout = options.startTimeout ?? settings.startTimeout
        settings.minimumMachines = options.minMachines
        settings.subnet = options.subnet ?? settings.subnet
        settings.network = options.network ?? settings.network
        settings.driver = options.driver ?? settings.driver
        if let text = options.apiURL ?? variable("YAGNA_API_URL") {
            do {
                settings.apiURL = try DaemonAddress(text)
            } catch {
                settings.apiURL = nil
                let name = options.apiURL == nil ? "YAGNA_API_URL" : "golem.api_url"
                problems.append("\(name): \(error.message): \(error.place ?? ""); \(error.hint ?? "")")
            }
        }
        settings.appKey = options.appKey ?? settings.appKey
        settings.registry = options.registry ?? settings.registry
        settings.dataFolder = options.dataFolder ?? settings.dataFolder
        settings.image = image(options, &problems)
        if settings.image == nil { settings.image = variable("DEML_GOLEM_IMAGE").map { .file($0) } }
        return (settings, problems)
    }

    private static func image(_ options: GolemOptionSettings, _ problems: inout [String]) -> ImageSource? {
        let given = [("image", options.image), ("image_url", options.imageURL), ("image_tag", options.imageTag)]
            .filter { $0.1 != nil }.map(\.0)
        if given.count > 1 {
            problems.append("golem: \(given.joined(separator: " and ")) exclude each other")
            return nil
        }
        if options.imageHash != nil, options.imageURL == nil {
            problems.append("golem.image_hash: belongs to image_url")
        }
        if let path = options.image { return .file(path) }
        if let tag = options.imageTag { return .tag(tag) }
        guard let url = options.imageURL else { return nil }
        guard let hash = options.imageHash?.lowercased() else {
            problems.append(
                "golem.image_url: image_hash is missing, the SHA3-224 that `deml doctor` or `make image` prints")
            return nil
        }
        guard hash.utf8.count == 56, hash.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) }) else {
            problems.append("golem.image_hash: a SHA3-224 has 56 hexadecimal digits")
            return nil
        }
        guard ["http://", "https://", "gftp://"].contains(where: url.hasPrefix) else {
            problems.append("golem.image_url: '\(url)' is not an http, https or gftp address")
            return nil
        }
        return .url(url, sha3: hash)
    }
}
