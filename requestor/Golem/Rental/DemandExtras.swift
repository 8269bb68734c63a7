extension RentalPlan {
    /// Throws `usage` for what no demand may hold, before anything is rented.
    func checkDemand() throws {
        for name in properties.keys
        where RentalPlan.ownProperties.contains(name) || name.hasPrefix(PropertyName.payload) {
            throw GolemError(
                .usage, "the property \(name) of a demand is the plan's own", hint: "use the field of RentalPlan for it"
            )
        }
        if manifest != nil, outbound != nil {
            throw GolemError(
                .usage, "a manifest and outbound access exclude each other",
                hint: "the manifest says what may be reached")
        }
        try outbound?.checked()
        _ = try Constraint.all(constraints).checked()
    }

    /// What a demand holds beside what follows from price, size and payment: the author's properties, the manifest.
    func demandExtras() throws -> (properties: [String: JSON], constraints: [Constraint]) {
        var extras = properties
        var wanted: [Constraint] = []
        if let manifest = try manifest ?? outbound.map({ try Manifest(image: image.package, outbound: $0) }) {
            extras.merge(manifest.properties) { _, own in own }
            wanted.append(.equal(PropertyName.capabilities, "manifest-support"))
            wanted.append(.equal(PropertyName.capabilities, "inet"))
        }
        if virtualNetwork != nil { wanted.append(.equal(PropertyName.capabilities, "vpn")) }
        return (extras, wanted)
    }

    private static let ownProperties: Set<String> = [
        PropertyName.subnet, PropertyName.nodeName, PropertyName.expiration, PropertyName.taskPackage,
        PropertyName.packageFormat, PropertyName.multiActivity, PropertyName.chosenPlatform, PropertyName.acceptTimeout,
        PropertyName.debitNoteInterval, PropertyName.paymentTimeout,
    ]
}
