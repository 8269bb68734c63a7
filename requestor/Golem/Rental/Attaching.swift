extension GolemClient {
    /// A machine that is rented already, by another program or another run: the activity is looked up, with the agreement
    /// it belongs to and the offer that was agreed.
    ///
    /// Only commands and files go through it. Whoever rented it keeps it: bills, its end and its replacement are that
    /// program's, and `MachinePool.giveBack` does not know it. A batch sent while that program runs one fails as busy, and a
    /// batch of ours that is cut short leaves the machine of no use to both.
    ///
    /// - Parameter daemonPatience: how long our own daemon may be away before the machine counts as lost.
    /// - Throws: `machineLost` for an activity that is over; `notFound`, `daemon` or `peer` for one that the daemon does not
    ///   know or cannot reach.
    public func attach(to activity: ActivityID, daemonPatience: Duration = .seconds(60)) async throws -> Machine {
        let agreement = try await market.agreement(try await self.activity.agreement(of: activity))
        let state = try await self.activity.state(activity)
        let name = agreement.offer.nodeName
        let label = "\(name) (\(agreement.providerID))"
        guard !state.isOver else {
            throw GolemError(
                .machineLost, "the activity is over: it is \(state.current)", place: label,
                hint: "rent a machine with Requestor")
        }
        let end = agreement.demandProperties[PropertyName.expiration]?.int64.map {
            Timestamp(nanoseconds: $0.multipliedReportingOverflow(by: 1_000_000).partialValue)
        }
        let expiration = end ?? .now() + .seconds(24 * 3600)
        return Machine(
            id: activity, providerID: agreement.providerID, providerName: name, agreementID: agreement.id,
            offer: agreement.offer, expiration: expiration, rental: 0,
            session: ActivitySession(
                client: self, activityID: activity, label: label, daemonPatience: daemonPatience, expiration: expiration
            ))
    }
}
