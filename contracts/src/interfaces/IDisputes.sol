// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMemberRegistry} from "./IMemberRegistry.sol";
import {IQuorum} from "./IQuorum.sol";
import {IRewardVault} from "./IRewardVault.sol";
import {IRoundLedger, RoundResult} from "./IRoundLedger.sol";

/// @notice One thing that a member says at most once: two with equal first five fields and different digests are an
/// equivocation. Members sign it under the RoundLedger's domain.
/// @param config `configDigest` of the roster under which it was said.
/// @param round Number of the round.
/// @param kind Which kind of statement, as in PROTOCOL.md.
/// @param attempt Attempt of the round.
/// @param subject What it is about, where a member says such a thing about several.
/// @param digest Digest of the message.
struct Statement {
    bytes32 config;
    uint64 round;
    uint8 kind;
    uint32 attempt;
    uint32 subject;
    bytes32 digest;
}

/// @title Who loses what for saying two things, and what a quorum decides about everything else
/// @notice Holds no money: bonds and stakes lie in the vault. Nobody can delay anybody's money by more than the
/// ledger's `rulingSeconds`, and a round only once.
interface IDisputes is IQuorum {
    /* ERRORS */

    /// @notice There is no contract at the registry's address.
    error NoRegistry(address registry);

    /// @notice The registry names another contract for disputes.
    error NotTheDisputes(address named);

    /// @notice No roster of this consortium has this digest.
    error UnknownConfig(bytes32 found);

    /// @notice The roster of that digest has no such member.
    error NotOnRoster(uint256 index);

    /// @notice The two say the same.
    error NoContradiction(bytes32 digest);

    /// @notice The two results are not of one round and one roster.
    error DifferentRounds(uint64 first, uint64 second);

    /// @notice One of the two signatures is not the member's.
    error NotTheMembers(uint256 index, bytes32 digest);

    /// @notice The member was slashed for this contradiction, or this ruling was carried out, already.
    error AlreadyPunished(bytes32 offence);

    /// @notice Only an active member can challenge a round.
    error MemberNotActive(uint256 index);

    /// @notice Only the member's own account can challenge in its name.
    error NotTheAccount(uint256 index, address account);

    /// @notice The bond of the member's challenge of `round` is still locked; it can challenge one round at a time.
    error ChallengePending(uint256 index, uint64 round);

    /// @notice The round is not challenged.
    error NotChallenged(uint64 round);

    /// @notice A quorum can rule on this challenge until then, in Unix seconds.
    error RulingOpen(uint64 round, uint256 until);

    /* EVENTS */

    /// @notice What a challenge locks, which never changes.
    event BondAdopted(uint128 bondWei);

    /// @notice A member signed two contradicting statements; what it had staked is in the pool.
    /// @param index Roster index of the member.
    /// @param statement The first of the two.
    /// @param otherDigest `digest` of the second one, whose other fields are the same.
    event EquivocationProven(
        uint256 indexed index,
        Statement statement,
        bytes32 otherDigest,
        bytes signature,
        bytes otherSignature,
        uint256 slashedWei
    );

    /// @notice A member signed two results of one round; what it had staked is in the pool.
    event ResultEquivocationProven(
        uint256 indexed index,
        RoundResult first,
        RoundResult second,
        bytes firstSignature,
        bytes secondSignature,
        uint256 slashedWei
    );

    /// @notice A member challenged a round.
    /// @param evidence Digest of what it says about it.
    event RoundChallenged(uint64 indexed round, uint256 indexed index, bytes32 evidence);

    /// @notice A quorum ruled on a round; the signatures are over `RoundRuling`.
    /// @param below If it is void, so is every later round below this one.
    event RoundRulingMade(
        uint64 indexed round,
        bool isVoid,
        uint64 below,
        bytes32 evidence,
        bytes32 config,
        uint256 signers,
        bytes signatures
    );

    /// @notice A challenge ended without a ruling of its own. The bond is in the pool if nobody ruled in time, and the
    /// challenger's if a ruling on an earlier round made this one void.
    event ChallengeLapsed(uint64 indexed round);

    /// @notice A quorum ruled on a member; the signatures are over `MemberRuling`.
    event MemberRulingMade(
        uint256 indexed index,
        uint256 amountWei,
        bytes32 evidence,
        uint256 slashedWei,
        bytes32 config,
        uint256 signers,
        bytes signatures
    );

    /* ACTIONS */

    /// @notice Slashes all that a member has staked, for two statements of which it may make one. Anyone may call it,
    /// once for the same two.
    /// @param index Roster index of the member.
    /// @param statement The first statement.
    /// @param otherDigest `digest` of the second one; its other fields are those of the first.
    /// @param signature The member's EIP-2098 signature over the first.
    /// @param otherSignature The member's EIP-2098 signature over the second.
    function proveEquivocation(
        uint256 index,
        Statement calldata statement,
        bytes32 otherDigest,
        bytes calldata signature,
        bytes calldata otherSignature
    ) external;

    /// @notice Slashes all that a member has staked, for two results of one round. Anyone may call it.
    function proveResultEquivocation(
        uint256 index,
        RoundResult calldata first,
        RoundResult calldata second,
        bytes calldata firstSignature,
        bytes calldata secondSignature
    ) external;

    /// @notice Challenges a round within its window: its rewards, and those of later rounds, which contain them, wait for
    /// a ruling, none of them longer than `rulingSeconds` after its own window.
    /// @param round The round.
    /// @param index Roster index of the caller, an active member with at least `bondWei` staked and no other challenge.
    /// @param evidence Digest of what the member says about it.
    function challenge(uint64 round, uint256 index, bytes32 evidence) external;

    /// @notice Makes a round's rewards void, with those of every later round recorded so far, or dismisses the challenge
    /// of it. Anyone may call it.
    /// @param round The round, not final yet.
    /// @param isVoid Whether the rewards are wrong: then the challenger has its bond back, else the pool has it.
    /// @param evidence Digest of what the quorum had before it.
    /// @param signers Bit i is set if the member with roster index i signed this `RoundRuling`.
    function ruleOnRound(uint64 round, bool isVoid, bytes32 evidence, uint256 signers, bytes calldata signatures)
        external;

    /// @notice Gives the bond of a challenge to the pool on which nobody ruled in time, or back if the round became void
    /// with an earlier one. Anyone may call it.
    function lapse(uint64 round) external;

    /// @notice Slashes a member for what only people can judge. Anyone may call it.
    /// @param index Roster index of the member.
    /// @param amountWei How much, or all there is if that is less.
    /// @param evidence Digest of what the quorum had before it; the same ruling is carried out once.
    /// @param signers Bit i is set if the member with roster index i signed this `MemberRuling`.
    function ruleOnMember(uint256 index, uint256 amountWei, bytes32 evidence, uint256 signers, bytes calldata signatures)
        external;

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice The registry whose members are judged.
    function registry() external view returns (IMemberRegistry);

    /// @notice The ledger whose rounds can be challenged.
    function ledger() external view returns (IRoundLedger);

    /// @notice The vault in which stakes lie.
    function vault() external view returns (IRewardVault);

    /// @notice What a challenge locks of the challenger's stake, in wei.
    function bondWei() external view returns (uint128);

    /// @notice Roster index, plus one, of the member whose challenge of `round` is not over; zero if there is none.
    function challengerOf(uint64 round) external view returns (uint256);

    /// @notice Whether this offence was punished, or this ruling carried out.
    /// @param offence keccak256(abi.encode(index, a, b)) of two contradicting struct hashes a < b, or a ruling's hash.
    function isPunished(bytes32 offence) external view returns (bool);

    /// @notice EIP-712 domain separator of rulings: "Mycelia", "1", this chain, this contract.
    function domainSeparator() external view returns (bytes32);
}
