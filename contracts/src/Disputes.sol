// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Rosters} from "./Rosters.sol";
import {RoundResults} from "./RoundResults.sol";
import {IDisputes, Statement} from "./interfaces/IDisputes.sol";
import {IMemberRegistry} from "./interfaces/IMemberRegistry.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";
import {IRoundLedger, RoundResult, RoundState} from "./interfaces/IRoundLedger.sol";

/// @title Disputes
/// @dev What every function promises is written in IDisputes.sol.
contract Disputes is IDisputes, EIP712 {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IDisputes
    string public constant VERSION = "1.0.0";

    bytes32 private constant STATEMENT = keccak256(
        "Statement(bytes32 config,uint64 round,uint8 kind,uint32 attempt,uint32 subject,bytes32 digest)"
    );
    bytes32 private constant ROUND_RULING =
        keccak256("RoundRuling(bytes32 config,uint64 round,bool isVoid,bytes32 evidence)");
    bytes32 private constant MEMBER_RULING =
        keccak256("MemberRuling(bytes32 config,uint256 index,uint256 amountWei,bytes32 evidence)");

    /// @inheritdoc IDisputes
    IMemberRegistry public immutable registry;

    /// @inheritdoc IDisputes
    IRoundLedger public immutable ledger;

    /// @inheritdoc IDisputes
    IRewardVault public immutable vault;

    /// @inheritdoc IDisputes
    uint128 public immutable bondWei;

    /* STORAGE */

    /// @inheritdoc IDisputes
    mapping(uint64 round => uint256) public challengerOf;

    /// @inheritdoc IDisputes
    mapping(bytes32 offence => bool) public isPunished;

    mapping(uint256 index => uint64 round) private _lastChallenged;

    /* CONSTRUCTOR */

    /// @param registry_ The registry, deployed before, that names this contract's address for disputes.
    /// @param bondWei_ What a challenge locks of the challenger's stake.
    constructor(IMemberRegistry registry_, uint128 bondWei_) EIP712("Mycelia", "1") {
        if (address(registry_).code.length == 0) revert NoRegistry(address(registry_));
        address named = registry_.disputes();
        if (named != address(this)) revert NotTheDisputes(named);
        registry = registry_;
        ledger = IRoundLedger(registry_.ledger());
        vault = IRewardVault(registry_.vault());
        bondWei = bondWei_;
        emit BondAdopted(bondWei_);
    }

    /* ACTIONS: EQUIVOCATION */

    /// @inheritdoc IDisputes
    function proveEquivocation(
        uint256 index,
        Statement calldata statement,
        bytes32 otherDigest,
        bytes calldata signature,
        bytes calldata otherSignature
    ) external {
        if (statement.digest == otherDigest) revert NoContradiction(otherDigest);
        address signer = _signerOf(statement.config, index);
        bytes32 domain = ledger.domainSeparator();
        bytes32 said = _hash(statement, statement.digest);
        bytes32 otherSaid = _hash(statement, otherDigest);
        _checkSigned(index, signer, domain, said, signature);
        _checkSigned(index, signer, domain, otherSaid, otherSignature);
        _punishOnce(_contradiction(index, said, otherSaid));

        uint256 slashedWei = vault.slash(index, type(uint256).max);
        emit EquivocationProven(index, statement, otherDigest, signature, otherSignature, slashedWei);
    }

    /// @inheritdoc IDisputes
    function proveResultEquivocation(
        uint256 index,
        RoundResult calldata first,
        RoundResult calldata second,
        bytes calldata firstSignature,
        bytes calldata secondSignature
    ) external {
        if (first.round != second.round || first.config != second.config) {
            revert DifferentRounds(first.round, second.round);
        }
        bytes32 digest = RoundResults.hash(first);
        bytes32 otherDigest = RoundResults.hash(second);
        if (digest == otherDigest) revert NoContradiction(digest);
        address signer = _signerOf(first.config, index);
        bytes32 domain = ledger.domainSeparator();
        _checkSigned(index, signer, domain, digest, firstSignature);
        _checkSigned(index, signer, domain, otherDigest, secondSignature);
        _punishOnce(_contradiction(index, digest, otherDigest));

        uint256 slashedWei = vault.slash(index, type(uint256).max);
        emit ResultEquivocationProven(index, first, second, firstSignature, secondSignature, slashedWei);
    }

    /* ACTIONS: CHALLENGES AND RULINGS */

    /// @inheritdoc IDisputes
    function challenge(uint64 round, uint256 index, bytes32 evidence) external {
        if (!registry.isActive(index)) revert MemberNotActive(index);
        address account = registry.accountAt(index);
        if (msg.sender != account) revert NotTheAccount(index, account);
        uint64 last = _lastChallenged[index];
        if (challengerOf[last] == index + 1) revert ChallengePending(index, last);
        (challengerOf[round], _lastChallenged[index]) = (index + 1, round);
        emit RoundChallenged(round, index, evidence);
        // Refuses a round whose window is not open, and one that was challenged before.
        ledger.dispute(round);
        vault.lockBond(index, bondWei);
    }

    /// @inheritdoc IDisputes
    function ruleOnRound(uint64 round, bool isVoid, bytes32 evidence, uint256 signers, bytes calldata signatures)
        external
    {
        bytes32 config = registry.configDigest();
        _requireQuorum(keccak256(abi.encode(ROUND_RULING, config, round, isVoid, evidence)), signers, signatures);
        uint256 challenger = challengerOf[round];
        challengerOf[round] = 0;
        uint64 below = ledger.rule(round, isVoid);
        emit RoundRulingMade(round, isVoid, below, evidence, config, signers, signatures);
        if (challenger != 0) vault.releaseBond(challenger - 1, bondWei, !isVoid);
    }

    /// @inheritdoc IDisputes
    function lapse(uint64 round) external {
        uint256 challenger = challengerOf[round];
        if (challenger == 0) revert NotChallenged(round);
        bool isVoid = ledger.stateOf(round) == RoundState.Void;
        uint256 until = isVoid ? 0 : ledger.finalAt(round);
        if (block.timestamp < until) revert RulingOpen(round, until);
        challengerOf[round] = 0;
        emit ChallengeLapsed(round);
        vault.releaseBond(challenger - 1, bondWei, !isVoid);
    }

    /// @inheritdoc IDisputes
    function ruleOnMember(uint256 index, uint256 amountWei, bytes32 evidence, uint256 signers, bytes calldata signatures)
        external
    {
        bytes32 config = registry.configDigest();
        bytes32 fields = keccak256(abi.encode(MEMBER_RULING, config, index, amountWei, evidence));
        _requireQuorum(fields, signers, signatures);
        // Refuses an index that no member ever had.
        registry.accountAt(index);
        _punishOnce(fields);
        uint256 slashedWei = vault.slash(index, amountWei);
        emit MemberRulingMade(index, amountWei, evidence, slashedWei, config, signers, signatures);
    }

    /* VIEWS */

    /// @inheritdoc IDisputes
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL */

    function _signerOf(bytes32 config, uint256 index) private view returns (address) {
        (address code,) = registry.rosterOf(config);
        if (code == address(0)) revert UnknownConfig(config);
        (address[] memory keys,) = Rosters.read(code);
        if (index >= keys.length || keys[index] == address(0)) revert NotOnRoster(index);
        return keys[index];
    }

    function _checkSigned(
        uint256 index,
        address signer,
        bytes32 domain,
        bytes32 digest,
        bytes calldata signature
    ) private pure {
        bytes32 signed = MessageHashUtils.toTypedDataHash(domain, digest);
        bool genuine = signature.length == Rosters.SIGNATURE_BYTES && Rosters.recover(signed, signature) == signer;
        if (!genuine) revert NotTheMembers(index, digest);
    }

    function _requireQuorum(bytes32 fields, uint256 signers, bytes calldata signatures) private view {
        (address[] memory keys, uint256 needed) = Rosters.read(registry.rosterCode());
        Rosters.requireQuorum(_hashTypedDataV4(fields), signers, signatures, keys, needed);
    }

    /// @dev Of the two that were said, in either order, and not of what they are about: else a member that has nothing
    /// at stake could have itself punished for a round to come, and say in it what it likes afterwards.
    function _contradiction(uint256 index, bytes32 digest, bytes32 other) private pure returns (bytes32) {
        (bytes32 low, bytes32 high) = digest < other ? (digest, other) : (other, digest);
        return keccak256(abi.encode(index, low, high));
    }

    function _punishOnce(bytes32 offence) private {
        if (isPunished[offence]) revert AlreadyPunished(offence);
        isPunished[offence] = true;
    }

    function _hash(Statement calldata statement, bytes32 digest) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                STATEMENT,
                statement.config,
                statement.round,
                statement.kind,
                statement.attempt,
                statement.subject,
                digest
            )
        );
    }
}
