import ArgumentParser

/// Options of everything that deals with the Golem Network. They stand for the keys under `golem:` of a YAML file.
struct GolemOptions: ParsableArguments {
    @Option(help: ArgumentHelp("GLM that the run may cost in all. (default: 5)", valueName: "glm"))
    var budget: String?
    @Option(
        help: ArgumentHelp(
            "GLM an hour that a machine with all cores busy may cost. (default: 1)", valueName: "glm"))
    var maxPricePerHour: String?
    @Option(help: ArgumentHelp("GLM that an hour of one busy core may cost. (default: 1)", valueName: "glm"))
    var maxPricePerCPUHour: String?
    @Option(help: ArgumentHelp("GLM that taking a machine may cost. (default: 0.05)", valueName: "glm"))
    var maxStartPrice: String?
    @Option(
        help: ArgumentHelp(
            "The worker's image, served from here. (default: provider-image/deml-worker.gvmi)", valueName: "file"))
    var image: String?
    @Option(help: ArgumentHelp("Where providers find the image; needs --image-hash.", valueName: "url"))
    var imageURL: String?
    @Option(help: ArgumentHelp("SHA3-224 of the image at --image-url.", valueName: "hex"))
    var imageHash: String?
    @Option(help: ArgumentHelp("The image at the registry, user/repository:tag.", valueName: "tag"))
    var imageTag: String?
    @Option(
        help: ArgumentHelp("Part of the network to rent in. (default: $YAGNA_SUBNET, else public)", valueName: "name"))
    var subnet: String?
    @Option(
        help: ArgumentHelp(
            "Where payments are made: hoodi, holesky, polygon, mainnet. (default: $YAGNA_PAYMENT_NETWORK, else hoodi)",
            valueName: "name"))
    var network: String?
    @Option(help: ArgumentHelp("Payment driver. (default: erc20)", valueName: "name"))
    var driver: String?
    @Option(
        help: ArgumentHelp(
            "Address of the yagna daemon. (default: $YAGNA_API_URL, else http://127.0.0.1:7465)", valueName: "url"))
    var apiURL: String?
    @Option(help: ArgumentHelp("GiB of memory that a machine must have. (default: 0.5)", valueName: "gib"))
    var minMemory: String?
    @Option(help: ArgumentHelp("GiB of disk that a machine must have. (default: 1)", valueName: "gib"))
    var minStorage: String?
    @Option(help: ArgumentHelp("Cores that a machine must have. (default: 1)", valueName: "n"))
    var minCores: String?
    @Option(
        help: ArgumentHelp("Seconds within which there must be a machine. (default: 120)", valueName: "seconds"))
    var startTimeout: String?
    @Option(help: ArgumentHelp("Machines that must be there before the run begins. (default: 1)", valueName: "n"))
    var minMachines: String?

    /// The settings given, by their keys under `golem:`.
    var values: [String: String] {
        [
            "budget": budget, "max_price_per_hour": maxPricePerHour, "max_price_per_cpu_hour": maxPricePerCPUHour,
            "max_start_price": maxStartPrice, "image": image, "image_url": imageURL, "image_hash": imageHash,
            "image_tag": imageTag, "subnet": subnet, "network": network, "driver": driver, "api_url": apiURL,
            "min_memory": minMemory, "min_storage": minStorage, "min_cores": minCores, "start_timeout": startTimeout,
            "min_machines": minMachines,
        ].compactMapValues(\.self)
    }
}
