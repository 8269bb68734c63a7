import Federation
import Golem
import GolemFleet
import Testing

@Suite struct GolemSettingsTests {
    /// Settings out of options as a person writes them.
    private func read(
        _ texts: [String: String], environment: [String: String]
    ) -> (settings: GolemSettings, problems: [String]) {
        var options = GolemOptionSettings()
        let wrong = options.take(texts)
        let (settings, problems) = GolemSettings.read(options, environment: environment)
        return (settings, wrong.map(\.description) + problems)
    }

    @Test func defaultsAreThoseOfTheTestNetwork() {
        let (settings, problems) = read([:], environment: [:])
        #expect(problems.isEmpty)
        #expect(settings.apiURL == .standard)
        #expect(settings.platform == "erc20-hoodi-tglm")
        #expect(settings.subnet == "public")
        #expect(settings.appKey == nil)
        #expect(!settings.isMainnet)
    }

    @Test func optionWinsOverVariableAndVariableOverDefault() {
        let environment = [
            "YAGNA_APPKEY": "key", "YAGNA_API_URL": "http://127.0.0.1:1", "YAGNA_SUBNET": "lab",
            "YAGNA_PAYMENT_NETWORK": "holesky",
        ]
        let (settings, problems) = read(["subnet": "mine"], environment: environment)
        #expect(problems.isEmpty)
        #expect(settings.subnet == "mine")
        #expect(settings.apiURL?.description == "http://127.0.0.1:1")
        #expect(settings.appKey == "key")
        #expect(settings.platform == "erc20-holesky-tglm")
        #expect(read([:], environment: ["YAGNA_SUBNET": ""]).settings.subnet == "public")
    }

    @Test func mainnetsArePaidInRealMoney() {
        for network in ["mainnet", "polygon"] {
            let settings = read(["network": network], environment: [:]).settings
            #expect(settings.platform == "erc20-\(network)-glm")
            #expect(settings.isMainnet)
        }
    }

    @Test func everyMistakeIsToldAtOnce() {
        let (_, problems) = read(
            [
                "budget": "0", "max_price_per_hour": "much", "min_cores": "0", "colour": "red", "image_hash": "00",
                "start_timeout": "nan",
            ], environment: [:])
        #expect(problems.count == 6, "\(problems)")
        for word in ["budget", "max_price_per_hour", "min_cores", "colour", "image_hash", "start_timeout"] {
            #expect(problems.contains { $0.contains(word) }, "nothing about \(word) in \(problems)")
        }
    }

    @Test func imageIsGivenInOneOfThreeWays() {
        let hash = String(repeating: "0a", count: 28)
        func image(_ options: [String: String]) -> (ImageSource?, [String]) {
            let (settings, problems) = read(options, environment: [:])
            return (settings.image, problems)
        }
        #expect(image(["image": "a.gvmi"]).0 == .file("a.gvmi"))
        #expect(image(["image_tag": "u/r:t"]).0 == .tag("u/r:t"))
        #expect(
            image(["image_url": "http://h/i", "image_hash": hash.uppercased()]).0 == .url("http://h/i", sha3: hash))
        #expect(image(["image_url": "http://h/i"]).1.count == 1)
        #expect(image(["image_url": "http://h/i", "image_hash": "12"]).1.count == 1)
        #expect(image(["image_url": "ftp://h/i", "image_hash": hash]).1.count == 1)
        #expect(image(["image": "a", "image_tag": "u/r:t"]).1.count == 1)
    }

    @Test func worstCaseIsBoundByTheBudget() {
        var settings = GolemSettings()
        settings.budget = 5
        settings.priceLimits = PriceLimits(perHour: 1, perCPUHour: 1, start: 0.5)
        #expect(settings.worstCase(machines: 2, hours: 1) == 3)
        #expect(settings.worstCase(machines: 2, hours: 100) == 5)
        #expect(settings.costNotice(machines: 2).joined().contains("worst case 3 "))
        // 3 * 1.05 is 3.1500000000000004 in binary.
        settings.priceLimits.start = 0.05
        #expect(settings.costNotice(machines: 3).joined().contains("worst case 3.15 in the first hour"))
    }

    @Test func anImageMayComeFromTheEnvironment() {
        let environment = ["DEML_GOLEM_IMAGE": "/images/worker.gvmi"]
        #expect(read([:], environment: environment).settings.image == .file("/images/worker.gvmi"))
        #expect(read(["image": "mine.gvmi"], environment: environment).settings.image == .file("mine.gvmi"))
        #expect(read([:], environment: ["DEML_GOLEM_IMAGE": ""]).settings.image == nil)
    }

    @Test func dataFolderIsThatOfTheUser() {
        #expect(GolemSettings().dataFolder(environment: ["HOME": "/h"]) == "/h/.local/share/deml")
        #expect(GolemSettings().dataFolder(environment: ["HOME": "/h", "XDG_DATA_HOME": "/x"]) == "/x/deml")
        #expect(
            read(["data_folder": "/d"], environment: [:]).settings.dataFolder(environment: [:]) == "/d")
    }
}
