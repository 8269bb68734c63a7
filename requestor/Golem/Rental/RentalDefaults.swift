#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension PriceLimits {
    /// What keeps a plan from paying a fancy price where its author gave no limits: 1 GLM for an hour of a whole machine,
    /// 1 GLM for a processor hour, 0.05 GLM for a start.
    public static let standard = PriceLimits(perHour: 1, perCPUHour: 1, start: 0.05)
}

extension RentalPlan {
    /// A plan with defaults for all that a short program need not say. What other Golem programs take from the environment
    /// is taken from there too: `YAGNA_SUBNET` (else `public`), `YAGNA_PAYMENT_NETWORK` (`hoodi`), `YAGNA_PAYMENT_DRIVER`
    /// (`erc20`), `REGISTRY_URL` (``ImageRegistry/golem``).
    ///
    /// - Parameters:
    ///   - budget: GLM. The most that all acceptances together may come to; also what is set aside.
    ///   - ledgerFolder: by default ``ledgerFolder(environment:)``.
    ///   - runName: by default a new one, so that each start of the program is a run of its own.
    public init(
        machines: Int = 1, image: ImageSource, budget: Amount, priceLimits: PriceLimits = .standard,
        ledgerFolder: String? = nil, runName: String? = nil,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        self.init(
            machines: machines, source: image, budget: budget, priceLimits: priceLimits,
            subnet: variable("YAGNA_SUBNET") ?? "public", network: variable("YAGNA_PAYMENT_NETWORK") ?? "hoodi",
            ledgerFolder: ledgerFolder ?? RentalPlan.ledgerFolder(environment: environment),
            runName: runName ?? RentalPlan.newRunName())
        driver = variable("YAGNA_PAYMENT_DRIVER") ?? driver
        registry = variable("REGISTRY_URL") ?? registry
    }

    /// Where ledgers lie when nothing else is said: `golem-swift/ledgers` in the user's data folder, which is
    /// `$XDG_DATA_HOME`, or `~/.local/share` without one.
    public static func ledgerFolder(environment: [String: String]) -> String {
        let own = "/golem-swift/ledgers"
        // A relative path is to be ignored (XDG Base Directory Specification).
        if let base = environment["XDG_DATA_HOME"], base.hasPrefix("/") { return base + own }
        let home = environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (home ?? FileManager.default.homeDirectoryForCurrentUser.path) + "/.local/share" + own
    }

    /// The program's name, the time and a random number: `hello-20261122-101500-3f2a9c01`.
    static func newRunName(program: String = CommandLine.arguments.first ?? "", at time: Timestamp = .now()) -> String {
        let name = program.split(separator: "/").last.map(String.init) ?? "run"
        let letters = name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) ? $0 : "-" }
        let digits = time.description.filter { $0.isNumber }.prefix(14)
        let number = String(UInt32.random(in: .min ... .max), radix: 16)
        return String(String(letters).prefix(60)) + "-" + digits.prefix(8) + "-" + digits.dropFirst(8) + "-"
            + String(repeating: "0", count: 8 - number.count) + number
    }

    /// How the daemon names driver, network and token in one word, e.g. `erc20-hoodi-tglm`. The token is GLM on the
    /// networks where it is worth money and tGLM on the others.
    public static func paymentPlatform(driver: String, network: String) -> String {
        "\(driver)-\(network)-\(["mainnet", "polygon"].contains(network) ? "glm" : "tglm")"
    }
}
